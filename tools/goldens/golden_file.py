"""safetensors files whose bytes depend on nothing but their contents.

The safetensors package keeps metadata in a hash map and writes it in another order each time, so goldens have a writer
of their own. Tensors lie by descending element size, then by name, as in src/io/safetensors.cc.
"""

import json
import pathlib

import numpy

_TYPES = {"uint8": "U8", "int64": "I64", "float32": "F32", "float64": "F64"}


def write_safetensors(path, tensors, metadata):
    """`tensors`: numpy arrays by name; `metadata`: text by key."""
    arrays = {name: numpy.ascontiguousarray(array) for name, array in tensors.items()}
    header, offset = {"__metadata__": dict(sorted(metadata.items()))}, 0
    order = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))
    for name in order:
        end = offset + arrays[name].nbytes
        header[name] = {
            "dtype": _TYPES[arrays[name].dtype.name],
            "shape": list(tensors[name].shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(arrays[name].tobytes() for name in order))


def write_json(path, value):
    pathlib.Path(path).write_text(json.dumps(value, indent=2) + "\n")


def rounded(value):
    """Two significant digits: what a report needs, and no more than is stable from run to run."""
    return float(f"{float(value):.1e}")
