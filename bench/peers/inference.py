"""Pictures a second of one network on the CPU: ours beside PyTorch, torch.compile, ONNX Runtime and OpenVINO, in turn.

    python3 bench/peers/inference.py --prepare
    python3 bench/peers/inference.py [--precisions fp32,bf16,int8] [--batches 1,16] [--rounds 8] [--seconds 1]
    python3 bench/peers/inference.py --cold [--rounds 5]
    python3 bench/peers/inference.py --plot docs/performance.svg

The first call makes an environment of its own, build/peers, from bench/peers/requirements.txt. --prepare writes what
the peers read (weights by `convnext init`, the ONNX files, NNCF's quantised network), which takes minutes; without it
that happens on first use. torch.compile compiles anew in every process: a frozen network is not cached.

Every peer is a process that has the same weights and the same input and stays; they take turns of --seconds, and
whoever is not at work is stopped. A ratio is ours to theirs in the same turn; what is printed is the median over the
rounds. Outputs are held against PyTorch's in float32, and one that is too far from it ends the measurement. --cold
times processes that load the model, answer one picture and end. Results are added to build/peers/results.json: a
measurement replaces the one before of the same name.
"""

import argparse
import hashlib
import json
import os
import pathlib
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
ENVIRONMENT = ROOT / "build" / "peers"
REQUIREMENTS = pathlib.Path(__file__).with_name("requirements.txt")
RESULTS = ENVIRONMENT / "results.json"
OURS = "convnext"
PEERS = {  # and the precisions that each is measured in
    OURS: ("fp32", "bf16", "int8"),
    "PyTorch": ("fp32", "bf16"),
    "torch.compile": ("fp32", "bf16"),
    "ONNX Runtime": ("fp32", "int8"),
    "OpenVINO": ("fp32", "bf16", "int8"),
}
REFERENCE = ("PyTorch", "fp32")
LARGEST_ERROR = {"fp32": 1e-5, "bf16": 2e-2, "int8": 1e-1}  # relative, of logits; beyond it another network was timed
CARD = "convnext_card_v1"
CALIBRATION_PICTURES = 8


def enter_environment():
    """Goes on in build/peers, which is made first where it is missing or of other requirements."""
    installed = ENVIRONMENT / "requirements.txt"
    if not installed.exists() or installed.read_bytes() != REQUIREMENTS.read_bytes():
        subprocess.run([sys.executable, "-m", "venv", "--clear", ENVIRONMENT], check=True)
        pip = [ENVIRONMENT / "bin/python", "-m", "pip", "install", "--quiet", "--requirement", REQUIREMENTS]
        subprocess.run(pip, check=True)
        installed.write_bytes(REQUIREMENTS.read_bytes())  # last: an environment without it is not whole
    if not os.path.samefile(sys.prefix, ENVIRONMENT):
        python = str(ENVIRONMENT / "bin/python")
        os.execv(python, [python, __file__, *sys.argv[1:]])


# What is compared: the files of one network at one resolution.


class Material:
    def __init__(self, options):
        self.program = options.program
        self.resolution = options.resolution
        self.threads = options.threads
        self.name = options.model
        folder = ENVIRONMENT / "models"
        if pathlib.Path(options.model).exists():
            self.weights = pathlib.Path(options.model)
            self.name = self.weights.stem
            digest = hashlib.sha256(self.weights.read_bytes()).hexdigest()[:12]
            self.folder = folder / f"{self.name}-{digest}"
        else:
            self.folder = folder / options.model
            self.weights = self.folder / "weights.safetensors"
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.weights.exists():
            self.written(self.weights, lambda path: self.ours(
                "init", options.model, "--weights", "formula", "--seed", 1, "--output", path))  # fmt: skip

    def written(self, path, write):
        """`path`, which write(path) makes where it is missing: under another name first, so that it is whole."""
        if not path.exists():
            unfinished = path.with_name("new-" + path.name)
            write(unfinished)
            unfinished.rename(path)
        return path

    def ours(self, *arguments):
        command = [str(part) for part in (self.program, *arguments)]
        run = subprocess.run(command, capture_output=True, text=True)
        if run.returncode != 0:
            raise RuntimeError(run.stderr.strip() or f"{command} ended with {run.returncode}")
        return run.stdout

    def pictures(self, batch, seed=1):
        """Noise of the mean and deviation that normalised photographs have."""
        import numpy

        shape = (batch, 3, self.resolution, self.resolution)
        return numpy.random.default_rng(seed).standard_normal(shape, dtype=numpy.float32)

    def input(self, batch):
        import numpy

        path = self.folder / f"input-{self.resolution}-{batch}.npy"

        def write(path):
            with path.open("wb") as file:
                numpy.save(file, self.pictures(batch))

        return self.written(path, write)

    def module(self):
        """timm's, in float32, with our file's weights."""
        import safetensors
        import safetensors.torch

        sys.path.insert(0, str(ROOT / "tools" / "goldens"))
        from models import build

        with safetensors.safe_open(self.weights, "pt") as file:
            card = json.loads(file.metadata()[CARD])
        model = build(card["architecture"], card.get("network", {}))
        model.load_state_dict(safetensors.torch.load_file(self.weights))
        return model.eval()

    def onnx(self, batch):
        def write(path):
            import torch

            x = torch.from_numpy(self.pictures(batch))
            torch.onnx.export(
                self.module(), (x,), str(path), opset_version=20, dynamo=True, external_data=False, verbose=False
            )

        return self.written(self.folder / f"network-{self.resolution}-{batch}.onnx", write)

    def onnx_int8(self, batch):
        def write(path):
            from onnxruntime.quantization import quantize_dynamic

            quantize_dynamic(str(self.onnx(batch)), str(path))

        return self.written(self.folder / f"dynamic-int8-{self.resolution}-{batch}.onnx", write)

    def openvino_int8(self, batch):
        path = self.folder / f"nncf-int8-{self.resolution}-{batch}.xml"
        if not path.exists():
            import nncf
            import openvino

            samples = [self.pictures(batch, seed) for seed in range(2, 2 + max(CALIBRATION_PICTURES // batch, 1))]
            network = nncf.quantize(
                openvino.Core().read_model(self.onnx(batch)),
                nncf.Dataset(samples, lambda x: {0: x}),
                subset_size=len(samples),
                model_type=nncf.ModelType.TRANSFORMER,
            )
            openvino.save_model(network, path.with_name("new-" + path.name), compress_to_fp16=False)
            path.with_name("new-" + path.name).with_suffix(".bin").rename(path.with_suffix(".bin"))
            path.with_name("new-" + path.name).rename(path)
        return path


# The peers: each gives a function without arguments that returns the logits.


def pytorch(material, precision, batch, compiled=False):
    import numpy
    import torch

    torch.set_num_threads(material.threads)
    torch.set_grad_enabled(False)
    # Not by autocast, which would cast all weights again in every run.
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    model = material.module().to(dtype=dtype, memory_format=torch.channels_last)
    x = torch.from_numpy(numpy.load(material.input(batch))).to(dtype=dtype, memory_format=torch.channels_last)
    if compiled:
        import torch._inductor.config

        torch._inductor.config.freezing = True
        model = torch.compile(model)

    return lambda: model(x).float().numpy()


def torch_compile(material, precision, batch):
    return pytorch(material, precision, batch, compiled=True)


def onnx_runtime(material, precision, batch):
    import numpy
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = material.threads
    file = material.onnx_int8(batch) if precision == "int8" else material.onnx(batch)
    session = onnxruntime.InferenceSession(str(file), settings, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: numpy.load(material.input(batch))}
    return lambda: session.run(None, feed)[0]


def openvino(material, precision, batch):
    import numpy
    import openvino

    file = material.openvino_int8(batch) if precision == "int8" else material.onnx(batch)
    settings = {
        # Of int8 too, for what it leaves in floats: OpenVINO's own choice where the processor has bf16.
        "INFERENCE_PRECISION_HINT": "f32" if precision == "fp32" else "bf16",
        "INFERENCE_NUM_THREADS": material.threads,
        "PERFORMANCE_HINT": "LATENCY",
    }
    request = openvino.Core().compile_model(file, "CPU", settings).create_infer_request()
    x = numpy.load(material.input(batch))
    return lambda: request.infer({0: x})[0]


LOADERS = {"PyTorch": pytorch, "torch.compile": torch_compile, "ONNX Runtime": onnx_runtime, "OpenVINO": openvino}


def work(options):
    """A peer's process: loads, runs once, says so, and then runs for as many seconds as each line asks for."""
    import numpy

    material = Material(options)
    (precision,), (batch,) = options.precisions, options.batches
    run = LOADERS[options.work](material, precision, batch)
    numpy.save(options.output, run())
    print("ready", flush=True)
    for line in sys.stdin:
        until = time.perf_counter() + float(line)
        seconds = []
        while not seconds or time.perf_counter() < until:
            start = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - start)
        print(json.dumps(seconds), flush=True)


# The side that measures.


def worker_command(options, name, precision, batch, output):
    return [
        sys.executable, __file__, "--work", name, "--precisions", precision, "--batches", str(batch),
        "--output", output, "--model", options.model, "--resolution", str(options.resolution),
        "--threads", str(options.threads), "--program", options.program,
    ]  # fmt: skip


def worker_environment(options):
    return os.environ | {
        "OMP_NUM_THREADS": str(options.threads),
        "TORCHINDUCTOR_CACHE_DIR": str(ENVIRONMENT / "inductor"),
        "PYTHONWARNINGS": "ignore",
    }


class Peer:
    """A process of one of the others, stopped between its turns."""

    def __init__(self, options, name, precision, batch, folder):
        self.output_file = pathlib.Path(folder) / f"{name}.npy"
        self.errors = (pathlib.Path(folder) / f"{name}.err").open("w+")
        self.process = subprocess.Popen(
            worker_command(options, name, precision, batch, str(self.output_file)),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True,
            env=worker_environment(options),
        )  # fmt: skip
        try:
            self.answer("ready")
        except BaseException:
            self.close()
            raise
        self.process.send_signal(signal.SIGSTOP)

    def answer(self, expected=""):
        """The next line that begins so; libraries print as they like in between."""
        for line in self.process.stdout:
            if line.startswith(expected):
                return line
        self.errors.seek(0)
        raise RuntimeError((self.errors.read().strip().splitlines() or ["it ended"])[-1])

    def run(self, seconds):
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()
        times = json.loads(self.answer("["))
        self.process.send_signal(signal.SIGSTOP)
        return statistics.median(times), min(times)

    def output(self):
        import numpy

        return numpy.load(self.output_file)

    def close(self):
        self.process.kill()
        self.process.wait()


class Ours:
    """convnext bench, once a turn."""

    def __init__(self, options, precision, batch, folder):
        self.material = Material(options)
        self.precision, self.batch = precision, batch
        self.output_file = pathlib.Path(folder) / "ours.npy"
        model = ["--model", self.material.weights, "--threads", options.threads, "--precision", precision]
        self.material.ours("run", *model, "--input", self.material.input(batch), "--output", self.output_file)
        self.command = ["bench", *model, "--batch", batch, "--resolution", options.resolution, "--json"]
        self.rooflines = []

    def run(self, seconds):
        (row,) = json.loads(self.material.ours(*self.command, "--seconds", seconds))
        self.rooflines.append(row["roofline_fraction"])
        return self.batch / row["pictures_per_second"], self.batch / row["pictures_per_second_best"]

    def output(self):
        import numpy

        return numpy.load(self.output_file)

    def close(self):
        pass


def open_peer(options, name, precision, batch, folder):
    if name == OURS:
        return Ours(options, precision, batch, folder)
    return Peer(options, name, precision, batch, folder)


def relative_error(a, b):
    import numpy

    return float(numpy.linalg.norm(a - b) / numpy.linalg.norm(b))


def reference_output(options, batch, folder):
    material = Material(options)

    def write(path):
        peer = Peer(options, *REFERENCE, batch, folder)
        peer.close()
        peer.output_file.rename(path)

    import numpy

    return numpy.load(material.written(material.folder / f"reference-{options.resolution}-{batch}.npy", write))


def measure(options, precision, batch):
    """Prints and gives back one row for each peer of one precision and batch."""
    import numpy

    title = f"{precision}, batch {batch}, {options.threads} threads, {options.rounds} rounds of {options.seconds} s"
    print(f"\n{Material(options).name} at {options.resolution}, {title}")
    peers = {}
    with tempfile.TemporaryDirectory() as folder:
        reference = reference_output(options, batch, folder)
        try:
            for name in options.peers:
                if precision not in PEERS[name]:
                    continue
                try:
                    peers[name] = open_peer(options, name, precision, batch, folder)
                except RuntimeError as error:
                    print(f"  {name:14} does not run: {error}")
            rates = {name: [] for name in peers}
            best = dict.fromkeys(peers, 0.0)
            for _ in range(options.rounds):
                for name, peer in peers.items():
                    median, fastest = peer.run(options.seconds)
                    rates[name].append(batch / median)
                    best[name] = max(best[name], batch / fastest)
            rows = []
            for name, peer in peers.items():
                low, high = numpy.percentile(rates[name], [25, 75])
                row = {
                    "peer": name, "precision": precision, "batch": batch, "best": best[name],
                    "median": statistics.median(rates[name]), "rounds": rates[name],
                    "spread": (high - low) / statistics.median(rates[name]),
                    "relative_error": relative_error(peer.output(), reference),
                }  # fmt: skip
                if name == OURS:
                    row["roofline_fraction"] = statistics.median(peer.rooflines)
                elif OURS in rates:
                    row["ratio"] = statistics.median(a / b for a, b in zip(rates[OURS], rates[name]))
                rows.append(row)
        finally:
            for peer in peers.values():
                peer.close()
    print(f"  {'':14} {'median':>8} {'best':>8} {'spread':>8} {'ours to it':>11}   error")
    for row in rows:
        ratio = f"{row['ratio']:10.2f}x" if "ratio" in row else ""
        print(
            f"  {row['peer']:14} {row['median']:8.2f} {row['best']:8.2f} {100 * row['spread']:6.1f} % {ratio:>11}   "
            f"{row['relative_error']:.1e}"
        )
    for row in rows:
        if not row["relative_error"] <= LARGEST_ERROR[precision]:
            sys.exit(f"{row['peer']} answers otherwise than {' in '.join(REFERENCE)}: a ratio would mean nothing")
    return rows


def answer_once(command, environment):
    """Seconds until a process has answered, and the most memory that it had, in bytes."""
    start = time.perf_counter()
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env=environment,
    )  # fmt: skip
    while (line := process.stdout.readline()) and not line.startswith("ready"):
        pass
    seconds = time.perf_counter() - start
    process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"it ended with {process.returncode}")
    if not line:  # ours says nothing before it ends
        seconds = time.perf_counter() - start
    return seconds, usage.ru_maxrss * 1024


def measure_cold(options):
    """Processes that load the model (in the page cache), answer one picture in float32 and end."""
    material = Material(options)
    print(f"\n{material.name} at {options.resolution}: the first answer of a new process, {options.rounds} rounds")
    print(f"  {'':14} {'median s':>9} {'best s':>9} {'memory MB':>10}")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        output = str(pathlib.Path(folder) / "output.npy")
        commands = {
            name: worker_command(options, name, "fp32", 1, output) for name in options.peers if name != OURS
        }
        if OURS in options.peers:
            parts = [material.program, "run", "--model", material.weights, "--threads", options.threads]
            commands[OURS] = [str(part) for part in (*parts, "--input", material.input(1), "--output", output)]
        samples = {name: [] for name in commands}
        for _ in range(options.rounds):
            for name, command in commands.items():
                samples[name].append(answer_once(command, worker_environment(options)))
        for name, values in samples.items():
            seconds = [value[0] for value in values]
            memory = max(value[1] for value in values)
            row = {"peer": name, "best": min(seconds), "median": statistics.median(seconds), "memory_bytes": memory}
            rows.append(row)
            print(f"  {name:14} {row['median']:9.2f} {row['best']:9.2f} {1e-6 * memory:10.0f}")
    return rows


def machine():
    """What the figures are of."""
    import importlib.metadata

    model = platform.processor()
    with open("/proc/cpuinfo") as file:
        lines = [line.split(":", 1) for line in file if ":" in line]
    facts = {key.strip(): value.strip() for key, value in lines}
    flags = facts.get("flags", "").split()
    wanted = ["avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8"]
    versions = {name: importlib.metadata.version(name) for name in ("torch", "timm", "onnxruntime", "openvino", "nncf")}
    return {
        "processor": facts.get("model name", model),
        "processors": len(os.sched_getaffinity(0)),
        "instructions": [flag for flag in wanted if flag in flags],
        "system": platform.platform(),
        "versions": versions,
    }


def print_machine():
    facts = machine()
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    print(f"{facts['processor']}, {facts['processors']} processors, {' '.join(facts['instructions'])}\n{versions}")


def save(options, kind, rows):
    """Adds rows to the results; those of the same measurement are replaced."""
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results["machine"] = machine()
    base = {"model": Material(options).name, "resolution": options.resolution, "threads": options.threads}
    keys = ("model", "resolution", "threads", "precision", "batch", "peer")

    def key(row):
        return [row.get(name) for name in keys]

    rows = [base | {"date": time.strftime("%Y-%m-%d")} | row for row in rows]
    new = [key(row) for row in rows]
    results[kind] = [row for row in results.get(kind, []) if key(row) not in new] + rows
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


def plot(options):
    """Bars of each precision and batch, ours on top; the ticks are the spread."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "convnext"
    matplotlib.rcParams["font.size"] = 8
    import matplotlib.pyplot as pyplot

    results = json.loads(RESULTS.read_text())
    name = Material(options).name
    rows = [
        row for row in results.get("speed", [])
        if (row["model"], row["resolution"], row["threads"]) == (name, options.resolution, options.threads)
    ]  # fmt: skip
    groups = {(row["precision"], row["batch"]) for row in rows}
    groups = sorted(groups, key=lambda group: (PEERS[OURS].index(group[0]), group[1]))
    if not groups:
        sys.exit(f"there are no results of {name} at {options.resolution} on {options.threads} threads to plot")
    columns = len({batch for _, batch in groups})
    lines = -(-len(groups) // columns)
    size = (1 + 3.2 * columns, 0.5 + 1.5 * lines)
    figure, axes = pyplot.subplots(lines, columns, figsize=size, squeeze=False)
    for axis in axes.flat[len(groups) :]:
        axis.set_visible(False)
    for axis, (precision, batch) in zip(axes.flat, groups):
        bars = [row for row in rows if (row["precision"], row["batch"]) == (precision, batch)]
        bars.sort(key=lambda row: (row["peer"] == OURS, row["median"]))
        medians = [row["median"] for row in bars]
        colours = ["#c44e52" if row["peer"] == OURS else "#a8b4c4" for row in bars]
        errors = [row["median"] * row["spread"] / 2 for row in bars]
        drawn = axis.barh([row["peer"] for row in bars], medians, xerr=errors, color=colours, ecolor="#555555")
        axis.bar_label(drawn, [f" {median:.1f}" for median in medians], padding=2)
        axis.set_xlim(0, 1.25 * max(median + error for median, error in zip(medians, errors)))
        axis.set_title(f"{precision}, batch {batch}", loc="left", fontsize=8)
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(length=0)
    about = results["machine"]
    figure.supxlabel(
        f"pictures a second: {name} at {options.resolution},\n{options.threads} threads of {about['processor']}"
    )
    figure.tight_layout()
    figure.savefig(options.plot, metadata={"Date": None, "Creator": None})
    print(options.plot)


def prepare(options):
    with tempfile.TemporaryDirectory() as folder:
        for batch in options.batches:
            reference_output(options, batch, folder)
            for precision in options.precisions:
                for name in options.peers:
                    if precision not in PEERS[name]:
                        continue
                    start = time.perf_counter()
                    try:
                        open_peer(options, name, precision, batch, folder).close()
                        outcome = "ready"
                    except RuntimeError as error:
                        outcome = f"does not run: {error}"
                    seconds = time.perf_counter() - start
                    print(f"{name}, {precision}, batch {batch}: {outcome}, {seconds:.0f} s", flush=True)


def words(text):
    return text.split(",")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="convnext_tiny", help="a registered name, or a file of ours")
    parser.add_argument("--program", default=str(ROOT / "build/release/bin/convnext"))
    parser.add_argument("--resolution", type=int, default=224)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--precisions", type=words, default=list(PEERS[OURS]))
    parser.add_argument("--batches", type=lambda text: [int(n) for n in words(text)], default=[1, 16])
    parser.add_argument("--peers", type=words, default=list(PEERS), help=", ".join(PEERS))
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=1.0, help="of a turn")
    parser.add_argument("--prepare", action="store_true", help="only make what the peers read")
    parser.add_argument("--cold", action="store_true", help="only start-up and memory")
    parser.add_argument("--plot", help="only draw the results so far, as this SVG file")
    parser.add_argument("--work", choices=list(LOADERS), help=argparse.SUPPRESS)
    parser.add_argument("--output", help=argparse.SUPPRESS)
    options = parser.parse_args()
    unknown = set(options.peers) - set(PEERS)
    if unknown:
        parser.error(f"no peer is named {', '.join(sorted(unknown))}")
    enter_environment()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by a signal"))  # so that the peers are ended too
    if options.work:
        work(options)
    elif options.prepare:
        prepare(options)
    elif options.plot:
        plot(options)
    elif options.cold:
        save(options, "cold", measure_cold(options))
    else:
        print_machine()
        for precision in options.precisions:
            for batch in options.batches:
                save(options, "speed", measure(options, precision, batch))


if __name__ == "__main__":
    main()
