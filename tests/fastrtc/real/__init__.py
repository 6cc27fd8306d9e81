"""FastRTC as it is: servers in processes of their own, and what both they and the fake are tried with."""

import pytest

for name in ("scenarios", "wire", "conversations"):
    pytest.register_assert_rewrite(f"{__name__}.{name}")
