"""Training steps a second: convnext-train against PyTorch with timm's model, the two in turn.

    build/goldens/bin/python bench/peers/train_step.py [--rounds 5] [--batch-size 64] [--compile] [--profile]
    build/goldens/bin/python bench/peers/train_step.py --against allocator

Both take the steps of one network (by default that of recipes/cifar10.toml) with AdamW and label smoothing on the same
number of threads, data not counted. The environment is that of the goldens (tools/make_goldens.sh makes it).
--profile prints where PyTorch's step spends its time; --against allocator compares convnext-train with itself where
jemalloc gives memory back as soon as it is free.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "goldens"))
STEPS = 20


def numbers(text):
    return [int(n) for n in text.split(",")]


def pytorch(options):
    """Seconds a step; runs in a process of its own, so that no threads stay behind."""
    import torch
    from models import build

    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    overrides = dict(depths=numbers(options.depths), dims=numbers(options.dims), patch_size=options.patch_size, classes=10)
    model = build("convnext_tiny", overrides).train().to(memory_format=torch.channels_last)
    step_model = torch.compile(model) if options.compile else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05, fused=True)
    shape = (options.batch_size, 3, options.resolution, options.resolution)
    x = torch.rand(shape).to(memory_format=torch.channels_last)
    target = torch.randint(10, (options.batch_size,))

    def step():
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(step_model(x), target, label_smoothing=0.1).backward()
        optimizer.step()

    for _ in range(3):
        step()
    if options.profile:
        with torch.profiler.profile() as profile:
            step()
        print(profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=10, max_name_column_width=40))
    start = time.perf_counter()
    for _ in range(STEPS):
        step()
    return (time.perf_counter() - start) / STEPS


def pytorch_process():
    command = [sys.executable, __file__, "--pytorch-alone", *sys.argv[1:]]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def ours(options, data, **environment):
    command = [ROOT / "build/release/bin/convnext-train", "train", data, "--dry-run", "--json", "--epochs", "1"]
    command += ["--warmup-epochs", "0", "--depths", options.depths, "--dims", options.dims, "--drop-path", "0"]
    command += ["--patch-size", options.patch_size, "--resolution", options.resolution]
    command += ["--batch-size", options.batch_size, "--threads", options.threads]
    run = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=True, env=os.environ | environment
    )
    return json.loads(run.stdout)["seconds_a_step"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--resolution", type=int, default=32)
    parser.add_argument("--depths", default="1,2,4,1")
    parser.add_argument("--dims", default="32,64,128,256")
    parser.add_argument("--patch-size", type=int, default=2)
    parser.add_argument("--compile", action="store_true", help="PyTorch by torch.compile")
    parser.add_argument("--profile", action="store_true", help="only PyTorch, and where its time goes")
    parser.add_argument("--against", choices=["PyTorch", "allocator"], default="PyTorch")
    parser.add_argument("--pytorch-alone", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.pytorch_alone or options.profile:
        print(pytorch(options))
        return

    seconds = {"convnext-train": [], options.against: []}
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([ROOT / "build/release/bin/draw_shapes", folder, str(options.batch_size)], check=True)
        for _ in range(options.rounds):
            seconds["convnext-train"].append(ours(options, folder))
            if options.against == "PyTorch":
                seconds["PyTorch"].append(pytorch_process())
            else:
                seconds["allocator"].append(ours(options, folder, MALLOC_CONF="dirty_decay_ms:0,muzzy_decay_ms:0"))
    print(f"pictures a second, {options.threads} threads, batch {options.batch_size}, {options.rounds} rounds")
    rate = {name: [options.batch_size / s for s in values] for name, values in seconds.items()}
    for name, values in rate.items():
        print(f"{name:15} best {max(values):8.1f}   median {statistics.median(values):8.1f}")
    ratios = [a / b for a, b in zip(rate["convnext-train"], rate[options.against])]
    print(f"{'ratio':15} best {max(ratios):8.2f}   median {statistics.median(ratios):8.2f}")


if __name__ == "__main__":
    main()
