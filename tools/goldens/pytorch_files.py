"""PyTorch files of every kind, and what is in them: python tools/goldens/pytorch_files.py [OUT_DIR]

Writes to OUT_DIR (default tests/goldens/files), for tests/tensor_file_test.cc:

    NAME.pth                 written by torch.save
    NAME.pth.safetensors     the tensors that torch.load gives, laid out densely and written by the safetensors package
    versions.json            of what made the files

A file without the second one holds a whole model, which is not read. What an earlier run wrote goes away first, and two
runs give the same bytes.
"""

import argparse
import collections
import io
import json
import pathlib
import pickle
import pickletools
import shutil
import sys
import types
import zipfile

import numpy
import safetensors
import safetensors.torch
import torch


def numbers(shape, dtype=torch.float32, seed=0):
    """Values that every dtype holds exactly: small integers, and halves where there are halves."""
    count = torch.Size(shape).numel()
    values = (torch.arange(count, dtype=torch.int64) * 7 + 3 * seed) % 61
    if dtype == torch.bool:
        values = values % 2
    elif dtype.is_floating_point and dtype.itemsize > 1:
        values = (values - 30) / 2
    return values.to(dtype).reshape(shape)


def every_dtype():
    dtypes = {
        "float64": torch.float64,
        "float32": torch.float32,
        "float16": torch.float16,
        "bfloat16": torch.bfloat16,
        "int64": torch.int64,
        "int32": torch.int32,
        "int16": torch.int16,
        "int8": torch.int8,
        "uint64": torch.uint64,
        "uint32": torch.uint32,
        "uint16": torch.uint16,
        "uint8": torch.uint8,
        "bool": torch.bool,
    }
    tensors = {name: numbers((3, 5), dtype, seed) for seed, (name, dtype) in enumerate(dtypes.items())}
    tensors["scalar"] = torch.tensor(-2.5)
    tensors["counter"] = torch.tensor(-7)
    tensors["empty"] = torch.zeros(0, 3)
    # What safetensors files of ours cannot hold is passed over.
    tensors["complex"] = torch.tensor([1 + 2j, 3 - 4j])
    tensors["float8"] = numbers((4,), torch.float8_e4m3fn)
    return tensors


def strided():
    """Tensors that share storages, begin inside of them, or lie in another order than their shape says."""
    pool = numbers((4, 6), seed=1)
    weight = numbers((3, 2, 4, 5), seed=2)
    column = torch.as_strided(numbers((8,), seed=4), (1, 4, 1), (40, 2, 9), 1)
    return {
        "pool": pool,
        "row": pool[1],
        "rows": pool[2:],
        "again": pool,
        "columns": pool[:, 1:3],
        "transposed": pool.t(),
        "channels_last": weight.to(memory_format=torch.channels_last),
        "pointwise": numbers((3, 4, 1, 1), seed=3).to(memory_format=torch.channels_last),
        "column": column,
        "expanded": numbers((1, 3), seed=5).expand(4, 3),
        "half": numbers((6, 4), torch.float16, seed=6).t(),
        "double": numbers((2, 3, 2), torch.float64, seed=7).permute(2, 0, 1),
        "byte": numbers((5, 3), torch.uint8, seed=8).t(),
    }


def small_model():
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 2), torch.nn.BatchNorm2d(4), torch.nn.Linear(4, 2))
    with torch.no_grad():
        for seed, tensor in enumerate(model.state_dict().values()):
            tensor.copy_(numbers(tensor.shape, tensor.dtype, seed))
    return model


def training(model, average):
    """What the official training code saves (ConvNeXt, utils.py), and more that such files are seen to carry."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.05)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "epoch": 299,
        "scaler": {"scale": 65536.0, "_growth_tracker": 2**40},
        "args": argparse.Namespace(
            model="convnext_tiny",
            output_dir=pathlib.PurePosixPath("checkpoint/run"),
            drop_path=0.1,
            crop_pct=None,
            large=-(2**80),
            classes={1, 2},
            frozen=frozenset([3]),
            raw=b"\x00\xff",
            buffer=bytearray(b"x"),
            device=torch.device("cpu"),
            dtype=torch.float16,
            size=torch.Size([224, 224]),
        ),
        "best": numpy.float64(82.1),
        "history": numpy.arange(3, dtype=numpy.float32),
        "counts": collections.Counter("aab"),
        "by_class": collections.defaultdict(list, {0: [1.5]}),
        "model_ema": average.state_dict(),
    }


def mmengine(model):
    """The objects of mmengine's training checkpoints, by classes of the same names."""

    class HistoryBuffer:
        def __init__(self):
            self._log_history = numpy.array([0.5, 0.25])
            self._statistics_methods = {"mean": HistoryBuffer.mean}

        def mean(self):
            return self._log_history.mean()

    class ConfigDict(dict):
        pass

    for name, value in (("mmengine.logging.history_buffer", HistoryBuffer), ("mmengine.config.config", ConfigDict)):
        value.__module__, value.__qualname__ = name, value.__name__
        parts = name.split(".")
        for end in range(1, len(parts) + 1):
            sys.modules.setdefault(".".join(parts[:end]), types.ModuleType(".".join(parts[:end])))
        setattr(sys.modules[name], value.__name__, value)
    HistoryBuffer.mean.__module__ = HistoryBuffer.__module__
    HistoryBuffer.mean.__qualname__ = "HistoryBuffer.mean"
    return {
        "meta": {"epoch": 3, "cfg": ConfigDict(lr=0.1), "CLASSES": ("cat", "dog"), "seed": numpy.int64(7)},
        "message_hub": {"log_scalars": collections.OrderedDict(loss=HistoryBuffer())},
        "state_dict": model.state_dict(),
    }


def with_stable_keys(text, tensors):
    """A legacy file whose storages are called 0, 1, ... in place of addresses, which are others in every run."""
    stream = io.BytesIO(text)
    for _ in range(4):
        list(pickletools.genops(stream))
    keys_at = stream.tell()
    keys = pickle.load(stream)
    item_bytes = {str(tensor.untyped_storage()._cdata): tensor.element_size() for tensor in tensors.values()}
    data = {}
    for key in keys:
        count = stream.read(8)
        data[key] = count + stream.read(int.from_bytes(count, "little") * item_bytes[key])
    assert not stream.read()
    order = sorted(keys, key=lambda key: text.index(key.encode()))
    pickles = text[:keys_at]
    for number, key in enumerate(order):
        old, new = (b"X" + len(name).to_bytes(4, "little") + name for name in (key.encode(), str(number).encode()))
        pickles = pickles.replace(old, new)
    names = [str(number) for number in range(len(order))]
    return pickles + pickle.dumps(names, 2) + b"".join(data[key] for key in order)


def deflated(text):
    """The same archive as a zip program packs it, without PyTorch's alignment."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(text)) as stored, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        for member in stored.infolist():
            packed.writestr(zipfile.ZipInfo(member.filename), stored.read(member), zipfile.ZIP_DEFLATED)
    return out.getvalue()


def saved(value, **options):
    out = io.BytesIO()
    torch.save(value, out, **options)
    return out.getvalue()


def write(folder, name, text, tensors=None):
    """`tensors`: what is expected of the file, after it was compared with what torch.load makes of it."""
    (folder / f"{name}.pth").write_bytes(text)
    if tensors is None:
        return
    loaded = torch.load(io.BytesIO(text), weights_only=False)
    for wrapper in ("model_ema", "model", "state_dict"):
        if wrapper in loaded:
            loaded = loaded[wrapper]
            break
    expected = {}
    for key, tensor in tensors.items():
        if not tensor.dtype.is_complex and tensor.dtype != torch.float8_e4m3fn:
            assert torch.equal(loaded[key], tensor), key
            expected[key] = tensor.detach().clone(memory_format=torch.contiguous_format)
    (folder / f"{name}.pth.safetensors").write_bytes(safetensors.torch.save(expected))


def main():
    default = pathlib.Path(__file__).resolve().parents[2] / "tests" / "goldens" / "files"
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else default
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)

    tensors = every_dtype()
    write(folder, "every_dtype", saved(tensors), tensors)
    tensors = strided()
    write(folder, "strided", saved(tensors), tensors)
    write(folder, "deflated", deflated(saved(tensors)), tensors)
    write(folder, "protocol_4", saved(tensors, pickle_protocol=4), tensors)
    torch.serialization.set_crc32_options(False)
    write(folder, "without_checksums", saved(tensors), tensors)
    torch.serialization.set_crc32_options(True)
    text = saved(tensors, _use_new_zipfile_serialization=False)
    write(folder, "legacy", with_stable_keys(text, tensors), tensors)

    model, average = small_model(), small_model()
    with torch.no_grad():
        for parameter in average.parameters():
            parameter.mul_(2)
    parameters = dict(model.named_parameters())
    parameters["0.bias"].note = "a parameter with an attribute of its own"
    write(folder, "parameters", saved(parameters), parameters)
    checkpoint = training(model, average)
    write(folder, "training", saved(checkpoint), average.state_dict())
    write(folder, "mmengine", saved(mmengine(model)), model.state_dict())

    layer = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.ones_(layer.weight)
    write(folder, "whole_model", saved(layer))

    versions = {"numpy": numpy.__version__, "safetensors": safetensors.__version__, "torch": torch.__version__}
    (folder / "versions.json").write_text(json.dumps(versions, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
