"""Facemesh landmarks: validation and serialization of what callers pass.

The protocol requires ``[face][478][x, y, z]`` with 1 to 100 faces (the official SDK's limits). A server answers a bad
point with an error code only, so every face and point is checked here, and the error names the first bad one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from ..errors import FOREIGN, InputError, short_repr, unreadable
from ..net.extras import loaded_numpy
from ..net.interrupts import from_handler

__all__ = ["serialize_landmarks"]

_FACES = 100
_POINTS = 478
_POINTS_WITHOUT_IRISES = 468
_AXES = 3

# Subclasses of list or float may serialize differently from what len() and iter() report: check them by element.
_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_PASSTHROUGH_SUBCLASS

_BRACKET = ord("[")
_NUMPY_THRESHOLD = 65536
"""Bytes of JSON above which numpy counts faster than the standard library."""


def serialize_landmarks(landmarks: object) -> bytes:
    """Validate landmarks and return them as JSON.

    Args:
        landmarks: ``(n, 478, 3)`` or one face ``(478, 3)``, as nested sequences or a numpy array of any number
            type, byte order and memory layout (float32 is written at float32 precision); or MediaPipe's
            results: An object with ``face_landmarks`` or ``multi_face_landmarks``, or lists of points with
            ``x``, ``y`` and ``z``. MediaPipe itself is not needed. (An ``orjson.Fragment`` is taken at its word.)
            Data frames, series and tensors of other libraries are refused, with the call that makes an array of them.

    Returns:
        UTF-8 JSON, ``[[[x, y, z], ...], ...]``.

    Raises:
        InputError: There is no face or too many, a wrong number of points or axes, or a value that is not a finite
            number; the text names the first bad place by its indexes. Or the object cannot be read as landmarks.
    """
    try:
        return _serialized(landmarks)
    except InputError:
        raise
    except FOREIGN as exc:
        if from_handler(exc):
            raise
        raise unreadable("landmarks", landmarks, exc) from exc


def _serialized(landmarks: object) -> bytes:
    faces = _to_faces(landmarks)
    if _is_array(faces):
        return orjson.dumps(_checked_array(faces), option=_OPTIONS)
    _check_count(len(faces))
    try:
        written = orjson.dumps(faces, option=_OPTIONS)
    except TypeError:  # a value JSON does not know, or other sequences than lists and tuples
        pass
    else:
        if _is_well_formed(faces, written):
            return written
    _raise_first_bad_value(faces)
    return orjson.dumps(
        [[list(map(_to_builtin, point)) for point in face] for face in faces]
    )  # right, but for its types


def _is_well_formed(faces: list[Any], written: bytes) -> bool:
    """Return whether every face has its points, every point three axes, and every axis is a number.

    The lists say how long they are, and their JSON says what is in them: no other value than numbers (NaN and infinity
    are written as null), and no list but the faces and points. (One look at the text without its numbers,
    ``translate``, does too, but takes half as long again: it mispredicts at each point of a face that moves.)
    """
    # One of these is in every JSON value that is no number and no list: null, true, false, strings, objects.
    if b"u" in written or b"l" in written or b'"' in written or b"{" in written:
        return False
    try:
        for face in faces:
            if len(face) != _POINTS:
                return False
            for _x, _y, _z in face:  # the interpreter's fastest way to ask for three
                pass
    except (TypeError, ValueError) as exc:
        if from_handler(exc):
            raise
        return False
    return _count_lists(written) == 1 + len(faces) * (1 + _POINTS)


def _count_lists(written: bytes) -> int:
    numpy = loaded_numpy() if len(written) > _NUMPY_THRESHOLD else None
    if numpy is None:
        return len(written) - len(written.replace(b"[", b""))  # CPython's count() takes twice as long
    return int(numpy.count_nonzero(numpy.frombuffer(written, numpy.uint8) == _BRACKET))


def _to_faces(landmarks: Any) -> Any:
    """Return an array unchanged, anything else as a list of faces of sequences of points."""
    if type(landmarks) is not list:
        landmarks = _unwrap(landmarks)
        if _is_array(landmarks):
            return landmarks
    first = landmarks[0] if len(landmarks) > 0 else None
    if _is_foreign_array(first):
        _raise_bad_face(0, first)
    if not _is_face_of_lists(first) and (_is_point(first) or _looks_like_point(first)):
        landmarks = [landmarks]  # one face, given by itself
    return [face if _is_face_of_lists(face) else _to_face(face) for face in landmarks]


def _is_face_of_lists(face: Any) -> bool:
    """Return whether it looks like a list of lists, the usual input, which can be serialized directly."""
    return type(face) is list and len(face) > 0 and type(face[0]) is list


def _unwrap(landmarks: Any) -> Any:
    """Return the sequence or array inside a MediaPipe result."""
    if not _is_foreign_array(landmarks):  # whose attributes are the names of columns
        for attribute in ("face_landmarks", "multi_face_landmarks"):
            if hasattr(landmarks, attribute):
                landmarks = getattr(landmarks, attribute)
                break
    if landmarks is None:
        return []  # what MediaPipe's older results hold when there is no face
    if hasattr(landmarks, "landmark") and not _is_foreign_array(landmarks):
        return [landmarks]
    if not _is_array(landmarks) and not _is_sequence(landmarks):
        raise InputError(
            "landmarks must be nested sequences or an array of shape (n, 478, 3) or (478, 3), or a MediaPipe result;"
            f" got {_type_of(landmarks, 'landmarks')}"
        )
    return landmarks


def _to_face(face: Any) -> Any:
    points = face if _is_foreign_array(face) else getattr(face, "landmark", face)
    if _is_array(points):
        return points.tolist()
    if not _is_sequence(points):
        return points
    if len(points) > 0 and _is_point(points[0]):
        return [[point.x, point.y, point.z] if _is_point(point) else point for point in points]
    return points if isinstance(points, list | tuple) else list(points)


def _checked_array(array: Any) -> Any:
    """Return the array as orjson accepts it: native, contiguous, ``(n, 478, 3)``, finite.

    float32 stays float32, so that its shorter numbers are written.
    """
    numpy = loaded_numpy()
    if not isinstance(array, numpy.ma.MaskedArray):
        array = numpy.asarray(array)  # not a subclass: a matrix, for example, always has two dimensions
    faces = array[numpy.newaxis] if array.ndim == 2 else array
    if faces.ndim != 3:
        raise InputError(f"landmarks must have the shape (n, 478, 3) or (478, 3), got {array.shape}")
    _check_count(faces.shape[0])
    if faces.shape[1] != _POINTS:
        _raise_bad_face(0, faces[0])
    if faces.shape[2] != _AXES:
        raise InputError(f"{_NOT_A_POINT} Got an array of shape {array.shape}.")
    if faces.dtype.kind not in "fiu" or isinstance(faces, numpy.ma.MaskedArray):
        kind = "a masked array" if isinstance(faces, numpy.ma.MaskedArray) else f"dtype {faces.dtype}"
        raise InputError(f"landmarks must be an array of numbers (float or integer), got {kind}")
    exact = faces.dtype.newbyteorder("=")
    if faces.dtype.kind == "f" and exact not in (numpy.float32, numpy.float64):
        exact = numpy.dtype(numpy.float32 if faces.dtype.itemsize < 4 else numpy.float64)
    with numpy.errstate(over="ignore"):  # overflow becomes infinity, which is found below
        native = numpy.ascontiguousarray(faces, dtype=exact)
    if faces.dtype.kind == "f" and not numpy.isfinite(native).all():
        face, point, axis = (int(i) for i in numpy.argwhere(~numpy.isfinite(native))[0])
        _raise_bad_value((face, point, axis), float(native[face, point, axis]))
    return native


def _is_array(value: object) -> bool:
    numpy = loaded_numpy()  # never imported here: if it is not loaded, no array exists
    return numpy is not None and isinstance(value, numpy.ndarray)


def _is_foreign_array(value: object) -> bool:
    """Return whether it is an array-like of another library than numpy: a data frame, a series, a tensor.

    Their lengths and items often mean something else: a data frame's items are its columns.
    """
    kind = type(value)
    if kind is list or not (hasattr(kind, "__array__") or hasattr(kind, "__dlpack__")):
        return False
    numpy = loaded_numpy()
    return numpy is None or not isinstance(value, numpy.ndarray | numpy.generic)


def _is_sequence(value: object) -> bool:
    if isinstance(value, str | bytes | bytearray | memoryview | Mapping) or _is_foreign_array(value):
        return False
    # Of the type, as Python itself looks for them: an object may answer for every name.
    return hasattr(type(value), "__len__") and hasattr(type(value), "__getitem__")


def _type_of(value: object, name: str) -> str:
    """Return the type of a refused object, and the call that would convert it to an array."""
    kind = type(value)
    if not _is_foreign_array(value):
        return kind.__name__
    method = next((method for method in ("to_numpy", "numpy") if hasattr(kind, method)), None)
    call = f"{name}.{method}()" if method else f"numpy.asarray({name})"
    return f"{kind.__name__}: pass an array, as {call} makes one"


def _is_point(value: object) -> bool:
    return hasattr(value, "x") and hasattr(value, "y") and hasattr(value, "z") and not _is_foreign_array(value)


def _is_number(value: object) -> bool:
    if isinstance(value, bool):
        return False
    numpy = loaded_numpy()
    return isinstance(value, int | float) or (numpy is not None and isinstance(value, numpy.floating | numpy.integer))


def _is_writable(value: Any) -> bool:
    """Return whether orjson can write a number: it is finite, and an integer has 64 bits."""
    return -(2**63) <= value < 2**64 if hasattr(value, "__index__") else math.isfinite(value)


def _to_builtin(value: Any) -> int | float:
    return int(value) if hasattr(value, "__index__") else float(value)


def _looks_like_point(value: Any) -> bool:
    """Return whether this is a short sequence of numbers, like a point of any number of axes."""
    return _is_sequence(value) and 0 < len(value) < 10 and _is_number(value[0])


def _check_count(faces: int) -> None:
    # These texts, and the two below, begin as the official SDK's do: callers match on them.
    if faces > _FACES:
        raise InputError(
            f"Number of faces sent in facemesh payload was greater than the limit of {_FACES}, found {faces}."
        )
    if faces == 0:
        raise InputError("No faces sent in facemesh payload.")


def _raise_bad_face(index: int, face: Any) -> None:
    if not _is_sequence(face):
        got = _type_of(face, f"landmarks[{index}]")
        raise InputError(f"landmarks[{index}] must be a sequence of {_POINTS} points, got {got}")
    text = f"Number of MediaPipe landmarks per face must be exactly {_POINTS}, found {len(face)}. (Face {index}"
    if len(face) == _POINTS_WITHOUT_IRISES:
        text += f": {len(face)} points: pass refine_landmarks=True to MediaPipe's FaceMesh"
    raise InputError(text + ")")


_NOT_A_POINT = "Invalid facemesh payload detected. Each facemesh landmark should be an (x, y, z) point."


def _raise_first_bad_value(faces: Sequence[Any]) -> None:
    """Raise an error that names the first bad place, if there is one."""
    for i, face in enumerate(faces):
        if not _is_sequence(face) or len(face) != _POINTS:
            _raise_bad_face(i, face)
        for j, point in enumerate(face):
            if not _is_sequence(point) or len(point) != _AXES:
                place = f"landmarks[{i}][{j}]"
                got = f"{len(point)} values" if _is_sequence(point) else _type_of(point, place)
                raise InputError(f"{_NOT_A_POINT} {place} has {got}.")
            for k, value in enumerate(point):
                if not _is_number(value) or not _is_writable(value):
                    _raise_bad_value((i, j, k), value)


def _raise_bad_value(place: tuple[int, int, int], value: object) -> None:
    i, j, k = place
    shown = (
        short_repr(float(value) if isinstance(value, float) else value)
        if _is_number(value)
        else f"a {type(value).__name__}"
    )
    raise InputError(f"landmarks[{i}][{j}][{k}] is {shown}; accepted are finite numbers (integers: 64 bits)")
