from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]


def test_the_fixtures_come_with_the_package_and_need_no_import(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        from hume_sync import LanguageConfig

        def test_mine(hume_emulator, hume_client):
            hume_emulator.fail_next("I0100", "busy")
            with hume_client.connect([LanguageConfig()]) as socket:
                assert socket.send_text("hello").attempts == 2
            assert len(hume_emulator.journal.requests) == 2
        """
    )
    pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:randomly").assert_outcomes(passed=1)


def test_the_local_server_is_not_imported_until_a_test_asks_for_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_nothing_is_loaded():
            assert "hume_sync.testing" in sys.modules
            assert not {"hume_sync.emulator", "websockets"} & set(sys.modules)
        """
    )
    outcome = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    outcome.assert_outcomes(passed=1)


def test_without_the_extra_the_fixtures_say_what_is_missing_in_a_line(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        sys.modules["websockets"] = None

        def test_mine(hume_client):
            pass
        """
    )
    outcome = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    outcome.assert_outcomes(errors=1)
    text = 'the fixture hume_emulator needs hume_sync with the extra "emulator": the module websockets is not installed'
    outcome.stdout.fnmatch_lines([text])
    outcome.stdout.no_fnmatch_line("*Traceback*")
    outcome.stdout.no_fnmatch_line("*testing.py*")


def test_a_fault_inside_the_local_server_is_not_taken_for_a_missing_extra(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys
        import types

        class Broken(types.ModuleType):
            def __getattr__(self, name):
                raise ModuleNotFoundError("No module named 'absent'", name="absent")

        sys.modules["hume_sync.emulator.scores"] = Broken("hume_sync.emulator.scores")

        def test_mine(hume_emulator):
            pass
        """
    )
    outcome = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    outcome.assert_outcomes(errors=1)
    outcome.stdout.fnmatch_lines(["*ModuleNotFoundError*absent*"])
