from __future__ import annotations

import decimal
import json
import math
import sys
from array import array
from collections import UserDict, deque, namedtuple
from collections.abc import Callable
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock, Mock

import numpy as np
import pytest

from hume_sync import InputError
from hume_sync.stream import landmarks as module
from hume_sync.stream.landmarks import serialize_landmarks

from .support import Bag, Point, landmarks

_records: Any = np.rec.fromrecords  # whose annotations take no lists of lists

FACES = landmarks(3)


def points(faces: list[list[list[float]]]) -> list[list[Point]]:
    return [[Point(point) for point in face] for face in faces]


def strided(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    wide = np.zeros((*array.shape[:-1], 6), array.dtype)
    wide[..., ::2] = array
    return wide[..., ::2]


@pytest.mark.parametrize(
    "given",
    [
        FACES,
        tuple(tuple(tuple(point) for point in face) for face in FACES),
        np.array(FACES),
        np.array(FACES, order="F"),
        strided(np.array(FACES)),
        np.array(FACES)[::-1][::-1],
        np.array(FACES, ">f8"),
        np.array(FACES, np.longdouble),
        [np.array(face) for face in FACES],
        [list(np.array(face)) for face in FACES],
        [[[np.float64(x) for x in point] for point in face] for face in FACES],
        points(FACES),
        Bag(face_landmarks=points(FACES)),
        Bag(multi_face_landmarks=[Bag(landmark=face) for face in points(FACES)]),
        [Bag(landmark=face) for face in points(FACES)],
    ],
    ids=[
        "lists", "tuples", "array", "column-order", "strided", "reversed-twice", "big-endian", "long-double",
        "arrays-in-a-list", "rows-in-lists", "numpy-numbers", "points", "mediapipe-tasks", "mediapipe-solutions",
        "mediapipe-faces",
    ],
)  # fmt: skip
def test_all_accepted_forms_of_the_same_faces_are_written_as_the_same_numbers(given: object) -> None:
    assert json.loads(serialize_landmarks(given)) == FACES


@pytest.mark.parametrize(
    "given",
    [FACES[0], np.array(FACES[0]), points(FACES)[0], Bag(landmark=points(FACES)[0]), list(np.array(FACES[0]))],
    ids=["lists", "array", "points", "mediapipe", "rows"],
)
def test_one_face_may_be_given_by_itself(given: object) -> None:
    assert json.loads(serialize_landmarks(given)) == FACES[:1]


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ">f4"])
def test_arrays_of_lower_precision_are_written_at_theirs(dtype: Any) -> None:
    array = np.array(FACES[:1], dtype)
    written = serialize_landmarks(array)
    assert np.array_equal(np.array(json.loads(written), np.float32), array.astype(np.float32))
    assert len(written) < len(serialize_landmarks(array.astype(np.float64)))


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, ">i4"])
def test_arrays_of_integers_are_written_as_such(dtype: Any) -> None:
    array = np.ones((1, 478, 3), dtype)
    assert json.loads(serialize_landmarks(array)) == array.tolist()


def test_a_hundred_faces_are_the_most() -> None:
    assert len(json.loads(serialize_landmarks(landmarks(100)))) == 100


# --- every face and every point is checked


def changed(face: int, point: int, axis: int | None, value: object) -> Any:
    faces: Any = landmarks(3)
    if axis is None:
        faces[face][point] = value
    else:
        faces[face][point][axis] = value
    return faces


BAD_LEAVES = [
    10**5000,
    math.nan,
    math.inf,
    -math.inf,
    None,
    True,
    False,
    "0.5",
    [],
    [0.5],
    {},
    {"x": 1},
    2**64,
    -(2**65),
    object(),
    b"1",
]


@pytest.fixture(params=[0, 2**62], ids=["counted by numpy", "counted without"])
def _counted(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_NUMPY_THRESHOLD", request.param)


@pytest.mark.usefixtures("_counted")
@pytest.mark.parametrize("place", [(0, 0, 0), (1, 200, 1), (2, 477, 2)], ids=str)
@pytest.mark.parametrize("leaf", BAD_LEAVES, ids=lambda leaf: str(type(leaf).__name__))
def test_a_value_that_is_no_finite_number_is_refused_by_its_place(place: tuple[int, int, int], leaf: object) -> None:
    with pytest.raises(InputError, match=r"landmarks\[{}\]\[{}\]\[{}\] is .*finite numbers".format(*place)):
        serialize_landmarks(changed(*place, leaf))


@pytest.mark.parametrize("place", [(0, 0), (1, 200), (2, 477)], ids=str)
@pytest.mark.parametrize("point", [[], [1.0, 2.0], [1.0] * 4, None, 1.0, "xyz", {"x": 1, "y": 2, "z": 3}], ids=repr)
def test_a_point_that_is_no_triple_is_refused_by_its_place(place: tuple[int, int], point: object) -> None:
    official = r"Invalid facemesh payload detected\. Each facemesh landmark should be an \(x, y, z\) point\."
    with pytest.raises(InputError, match=official + r".*landmarks\[{}\]\[{}\]".format(*place)):
        serialize_landmarks(changed(*place, None, point))


@pytest.mark.usefixtures("_counted")
@pytest.mark.parametrize("faces", [1, 3])
def test_right_lists_are_looked_at_in_one_pass(faces: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_raise_first_bad_value", None)  # what names bad places takes ten times as long
    assert json.loads(serialize_landmarks(FACES[:faces])) == FACES[:faces]


class Three(int):
    """Three as long as it is read, one once it is written."""

    def __iter__(self) -> Any:
        return iter((1, 2, 3))


def test_a_point_that_only_looks_like_one_is_refused() -> None:
    faces: Any = landmarks(1)
    faces[0][1], faces[0][2] = Three(3), [1, 2, []]
    with pytest.raises(InputError, match=r"landmarks\[0\]\[1\] has Three"):
        serialize_landmarks(faces)


@pytest.mark.parametrize("number", [1e20, -1e300, 2**64 - 1, -(2**63)])
def test_the_same_numbers_are_accepted_in_every_form(number: float) -> None:
    faces: Any = landmarks(1)
    faces[0][3][1] = number
    assert json.loads(serialize_landmarks([[deque(point) for point in faces[0]]])) == faces
    assert json.loads(serialize_landmarks(faces)) == faces


def test_what_one_face_lacks_another_cannot_make_up_for() -> None:
    faces = landmarks(2)
    faces[0].append(faces[1].pop())
    with pytest.raises(InputError, match=r"exactly 478, found 479\. \(Face 0"):
        serialize_landmarks(faces)


@pytest.mark.usefixtures("_counted")
def test_what_one_point_lacks_another_cannot_make_up_for() -> None:
    faces: Any = landmarks(2)
    faces[1][6] = [0.1, 0.2]
    faces[1][7] = [0.1, 0.2, 0.3, 0.4]
    with pytest.raises(InputError, match=r"landmarks\[1\]\[6\] has 2 values"):
        serialize_landmarks(faces)
    faces[1][6], faces[1][7] = [0.1, 0.2, [0.3]], 0.1  # as many lists as there should be
    with pytest.raises(InputError, match=r"landmarks\[1\]\[6\]\[2\] is a list"):
        serialize_landmarks(faces)


@pytest.mark.parametrize("array", [False, True], ids=["lists", "array"])
@pytest.mark.parametrize(
    ("count", "hint"), [(0, ""), (1, ""), (477, ""), (479, ""), (468, "468 points: pass refine_landmarks=True")]
)
def test_a_face_of_another_number_of_points_is_refused(count: int, hint: str, array: bool) -> None:
    faces: Any = [[[0.0, 0.0, 0.0]] * count] * 2
    given = np.zeros((2, count, 3)) if array else faces
    with pytest.raises(InputError, match=f"per face must be exactly 478, found {count}.*{hint}"):
        serialize_landmarks(given)


def test_a_wrong_number_of_points_is_found_in_any_face() -> None:
    faces = landmarks(3)
    del faces[2][0]
    with pytest.raises(InputError, match=r"exactly 478, found 477\. \(Face 2"):
        serialize_landmarks(faces)


@pytest.mark.parametrize(
    "given",
    [landmarks(101), np.zeros((101, 478, 3)), Bag(face_landmarks=landmarks(101))],
    ids=["lists", "array", "bag"],
)
def test_more_than_a_hundred_faces_are_refused(given: object) -> None:
    with pytest.raises(InputError, match=r"was greater than the limit of 100, found 101\."):
        serialize_landmarks(given)


@pytest.mark.parametrize(
    "given",
    [[], (), np.zeros((0, 478, 3)), Bag(face_landmarks=[]), Bag(multi_face_landmarks=None)],
    ids=["list", "tuple", "array", "mediapipe-tasks", "mediapipe-solutions"],
)
def test_no_face_at_all_is_refused(given: object) -> None:
    with pytest.raises(InputError, match=r"^No faces sent in facemesh payload\.$"):
        serialize_landmarks(given)


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.zeros((478, 2)), "should be an"),
        (np.zeros(1434), r"got \(1434,\)"),
        (np.zeros((1, 1, 478, 3)), r"got \(1, 1, 478, 3\)"),
        (np.zeros((1, 478, 3), complex), "dtype complex128"),
        (np.zeros((1, 478, 3), bool), "dtype bool"),
        (np.zeros((1, 478, 3), object), "dtype object"),
        (np.zeros((1, 478, 3), "U3"), "dtype <U3"),
        (np.zeros(478, [("x", float), ("y", float), ("z", float)]), r"got \(478,\)"),
        (np.ma.masked_invalid(np.zeros((1, 478, 3))), "a masked array"),
        (np.full((1, 478, 3), np.longdouble("1e4000")), r"\[0\]\[0\]\[0\] is inf"),
        (memoryview(bytes(478 * 3)).cast("B", (1, 478, 3)), "got memoryview"),
    ],
    ids=["axes", "flat", "deep", "complex", "bool", "object", "text", "records", "masked", "too-large", "memoryview"],
)
def test_an_array_of_another_shape_or_kind_is_refused(array: Any, text: str) -> None:
    with pytest.raises(InputError, match=text):
        serialize_landmarks(array)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_an_array_with_a_value_that_is_not_finite_is_refused_by_its_place(dtype: Any, value: float) -> None:
    array = np.zeros((2, 478, 3), dtype)
    array[1, 477, 2] = value
    with pytest.raises(InputError, match=rf"landmarks\[1\]\[477\]\[2\] is {value}"):
        serialize_landmarks(array)


@pytest.mark.parametrize(
    "given", [None, 7, "face", b"face", {"a": 1}, iter([]), {1, 2}, object()], ids=lambda g: type(g).__name__
)
def test_what_is_no_sequence_of_faces_is_refused_with_what_is_accepted(given: object) -> None:
    accepted = r"^No faces" if given is None else r"shape \(n, 478, 3\) or \(478, 3\), or a MediaPipe result"
    with pytest.raises(InputError, match=accepted):
        serialize_landmarks(given)


@pytest.mark.parametrize("face", [None, 7, "face", object()], ids=lambda g: type(g).__name__)
def test_a_face_that_is_no_sequence_is_refused_by_its_index(face: object) -> None:
    with pytest.raises(InputError, match=r"landmarks\[1\] must be a sequence of 478 points"):
        serialize_landmarks([landmarks()[0], face])


def test_sequences_and_numbers_of_kinds_json_does_not_know_are_written_as_what_they_are() -> None:
    class Triple:
        def __len__(self) -> int:
            return 3

        def __getitem__(self, index: int) -> float:
            return [0.0, 0.0, 0.0][index]

    class Number(float):
        pass

    (face,) = landmarks(1)
    given = [[Triple(), array("d", face[1]), [Number(x) for x in face[2]], *face[3:]]]
    assert json.loads(serialize_landmarks(given)) == [[[0.0, 0.0, 0.0], *face[1:]]]


# --- objects of other libraries


class Tensor:
    """An array of another library, on a device that does not give it away."""

    def __init__(self, column: str = "x") -> None:
        self.x = self.y = self.z = 0.0
        setattr(self, column, FACES)  # as the columns of a data frame are attributes

    def __array__(self) -> Any:
        raise RuntimeError("not on this device")

    def __len__(self) -> int:
        return 1

    def __getitem__(self, column: Any) -> Any:
        raise KeyError(column)


class TorchTensor(Tensor):
    def numpy(self) -> Any:
        raise TypeError("not on this device")


class Frame(Tensor):
    def to_numpy(self) -> Any:
        return np.array(FACES)


KINDS: list[tuple[type[Tensor], str]] = [
    (Frame, r"Frame: pass an array, as {}\.to_numpy\(\) makes one"),
    (TorchTensor, r"TorchTensor: pass an array, as {}\.numpy\(\) makes one"),
    (Tensor, r"Tensor: pass an array, as numpy\.asarray\({}\) makes one"),
]


@pytest.mark.parametrize(("kind", "text"), KINDS, ids=lambda value: getattr(value, "__name__", ""))
def test_arrays_of_other_libraries_are_refused_with_the_call_that_makes_an_array(kind: type[Tensor], text: str) -> None:
    given: Any
    for given in (kind(), kind("landmark"), kind("face_landmarks"), kind("multi_face_landmarks")):
        with pytest.raises(InputError, match="got " + text.format("landmarks")):
            serialize_landmarks(given)
    for given in ([kind()], [kind("landmark")] * 2, [kind()] * 478, (kind(),), Bag(face_landmarks=[kind()])):
        with pytest.raises(InputError, match=r"landmarks\[0\] must be .* got " + text.format(r"landmarks\[0\]")):
            serialize_landmarks(given)
    with pytest.raises(InputError, match=r"landmarks\[1\] must be .* got " + text.format(r"landmarks\[1\]")):
        serialize_landmarks([FACES[0], kind()])
    with pytest.raises(InputError, match=r"landmarks\[0\]\[0\] has " + text.format(r"landmarks\[0\]\[0\]")):
        serialize_landmarks([[kind()] * 478])
    with pytest.raises(InputError, match=r"landmarks\[0\]\[5\]\[1\] is a " + kind.__name__):
        serialize_landmarks(changed(0, 5, 1, kind()))


class Raising:
    """A sequence that cannot be read, as one of a store that was closed."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Any:
        raise self.error


class HalfWay(list[Any]):
    def __iter__(self) -> Any:
        yield from list.__iter__(self)
        raise KeyError("half way")


class AnswersAll:
    def __init__(self, answer: Any) -> None:
        vars(self)["answer"] = answer

    def __getattr__(self, name: str) -> Any:
        return self if self.answer is ... else self.answer


class RefusesAll:
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


@pytest.mark.parametrize(
    "given",
    [
        *(Raising(error("no")) for error in (KeyError, TypeError, AttributeError, IndexError, RuntimeError)),
        HalfWay(FACES), HalfWay(FACES[0]), Mock(), MagicMock(), AnswersAll(...), AnswersAll(None),
        RefusesAll(), (face for face in FACES), set(), frozenset([1]), {"face_landmarks": FACES}, UserDict(x=1),
        [[dict(zip("xyz", point, strict=True)) for point in FACES[0]]], np.array(1.0), [np.array(1.0)],
        np.ma.masked_greater(FACES, 0.5), [np.ma.masked_greater(FACES[0], 0.5)],
        [list(np.ma.masked_greater(FACES[0], 0.5))], [np.array(FACES[0], complex)], [np.array(FACES[0], str)],
        [list(np.zeros((478, 3), "datetime64[s]"))], np.zeros((1, 478, 3), "V3"),
        np.zeros((1, 478, 3), "timedelta64[s]"),
        decimal.Decimal(1), ModuleType("landmarks"), type,
    ],
    ids=lambda given: f"{type(given).__name__}",
)  # fmt: skip
def test_no_object_makes_anything_else_than_an_error_of_its_argument(given: Any) -> None:
    for faces in (given, [given], [FACES[0], given], [[given] * 478], changed(0, 0, 0, given), Bag(landmark=given)):
        with pytest.raises(InputError):
            serialize_landmarks(faces)


@pytest.mark.parametrize("error", [TimeoutError("of a signal handler"), OSError("of a disk"), KeyboardInterrupt()])
def test_what_is_no_fault_of_the_argument_comes_out_as_it_is(error: Any) -> None:
    with pytest.raises(type(error)) as caught:
        serialize_landmarks(Raising(error))
    assert caught.value is error


XYZ = namedtuple("XYZ", "x y z")
ABC = namedtuple("ABC", "a b c")


@pytest.mark.parametrize(
    "faces",
    [
        [[XYZ(*point) for point in face] for face in FACES],
        [[ABC(*point) for point in face] for face in FACES],
        [np.array(face, object) for face in FACES],
        [list(_records(face, names="x,y,z")) for face in FACES],
        [deque(face) for face in FACES],
    ],
    ids=["x-y-z", "a-b-c", "objects", "rows-of-records", "deques"],
)
def test_sequences_of_other_kinds_are_written_as_the_same_numbers(faces: list[Any]) -> None:
    assert json.loads(serialize_landmarks(faces)) == FACES
    if not isinstance(faces[0], np.ndarray):
        assert json.loads(serialize_landmarks(faces[0])) == FACES[:1]


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # of the class itself
def test_a_matrix_is_one_face() -> None:
    assert json.loads(serialize_landmarks(np.matrix(FACES[0]))) == FACES[:1]


def test_numpy_is_not_imported_for_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    check: Callable[[object], bool] = module._is_array
    monkeypatch.setattr(sys, "modules", {})
    assert not check(np.zeros(1))
    assert json.loads(serialize_landmarks(FACES)) == FACES
