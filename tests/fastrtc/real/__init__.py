"""FastRTC as it is: servers in processes of their own, and what both they and the fake are tried with."""

import pytest

pytest.register_assert_rewrite(f"{__name__}.scenarios", f"{__name__}.wire")
