#!/usr/bin/env python3
"""Times Hugging Face PEFT's LoRA and DoRA on one linear layer, with the fields and the meaning of this repository's benchmark.

A step is forward and backward to the input and to the adapter; "floor" is the frozen layer's own. Needs torch and peft.
  python3 measure_peft_dora.py --shape 4096,4096,4096,16 --dtype bfloat16 --device cuda --json peft.json
"""
import argparse
import gc
import json
import statistics
import time

import peft
import torch

MODES = ("train", "accumulate8", "eval")


class Holder(torch.nn.Module):
    """PEFT adapts layers inside a model."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x)


def build(method, shape, dropout, dtype, device):
    """The module of a method, all with the same frozen weight, adapters in the middle of their training."""
    inputs, outputs, _, rank = shape
    torch.manual_seed(5)
    frozen = torch.nn.Linear(inputs, outputs, bias=False).to(device=device, dtype=dtype).requires_grad_(False)
    model = Holder(frozen)
    if method == "floor":
        return model
    config = peft.LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=dropout, target_modules=["layer"], use_dora=method == "peft_dora")
    model = peft.get_peft_model(model, config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.1)
            if "lora_magnitude" in name:
                parameter.mul_(1 + 0.2 * torch.rand_like(parameter))
    return model


class Subject:
    """A method in one scenario."""

    def __init__(self, method, shape, dropout, dtype, device, mode):
        self.method, self.mode, self.cuda = method, mode, device == "cuda"
        self.model = build(method, shape, dropout, dtype, device).train(mode != "eval")
        self.trained = [p for p in self.model.parameters() if p.requires_grad]
        self.x = torch.randn(shape[2], shape[0], device=device, dtype=dtype, requires_grad=mode != "eval")
        self.dy = torch.randn(shape[2], shape[1], device=device, dtype=dtype)
        self.times = []

    def now(self):
        if self.cuda:
            torch.cuda.synchronize()
        return time.perf_counter()

    def once(self):
        if self.mode == "eval":
            with torch.no_grad():
                self.model(self.x)
        else:
            self.model(self.x).backward(self.dy)
            self.x.grad = None

    def step(self):
        """Milliseconds of a (micro) step; parameters change between steps, as by an optimizer, outside of the time."""
        micro = 8 if self.mode == "accumulate8" else 1
        if self.mode != "eval":
            with torch.no_grad():
                for parameter in self.trained:
                    parameter.grad = None
                    parameter.mul_(1)
        start = self.now()
        for _ in range(micro):
            self.once()
        self.times.append((self.now() - start) * 1e3 / micro)

    def saved_bytes(self):
        """What a forward pass keeps for the backward pass besides x and y, by torch's own hooks."""
        if self.mode == "eval":
            return 0
        kept = {}
        own = {t.untyped_storage().data_ptr() for t in [self.x, *self.model.parameters()]}

        def pack(tensor):
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in own:
                kept[storage.data_ptr()] = (storage.nbytes(), tensor)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            y = self.model(self.x)
        kept.pop(y.untyped_storage().data_ptr(), None)
        return sum(size for size, _ in kept.values())

    def peak_bytes(self):
        """The most that one step takes of the GPU; unknown elsewhere."""
        if not self.cuda:
            return None
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        self.step()
        torch.cuda.synchronize()
        own = sum(t.numel() * t.element_size() for t in [self.x, self.dy, *self.model.parameters()])
        return torch.cuda.max_memory_allocated() - before + own


def measure(shape, dropout, dtype_name, device, mode, seconds):
    dtype = getattr(torch, dtype_name)
    subjects = [Subject(method, shape, dropout, dtype, device, mode) for method in ("floor", "peft_lora", "peft_dora")]
    for subject in subjects:
        for _ in range(3):
            subject.step()
    saved = [subject.saved_bytes() for subject in subjects]
    peaks = [subject.peak_bytes() for subject in subjects]
    for subject in subjects:
        subject.times.clear()
    start, rounds = time.perf_counter(), 0
    while rounds < 3 or time.perf_counter() - start < seconds:
        for turn in range(len(subjects)):
            subjects[(rounds + turn) % len(subjects)].step()
        rounds += 1
    floor = statistics.median(subjects[0].times)
    rows = []
    for subject, saved_bytes, peak_bytes in zip(subjects, saved, peaks):
        median = statistics.median(subject.times)
        rows.append({
            "in": shape[0], "out": shape[1], "tokens": shape[2], "rank": shape[3], "dropout": dropout, "dtype": dtype_name,
            "method": subject.method, "mode": mode, "median_ms": round(median, 5), "ratio_floor": round(median / floor, 4),
            "saved_bytes": saved_bytes, "peak_bytes": peak_bytes,
        })
    return rows


def shape_of(text):
    numbers = tuple(int(part) for part in text.split(","))
    if len(numbers) != 4 or min(numbers) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no shape: give IN,OUT,TOKENS,RANK")
    return numbers


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=shape_of, action="append", required=True, help="IN,OUT,TOKENS,RANK; can be repeated")
    parser.add_argument("--dropout", type=float, action="append")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), action="append")
    parser.add_argument("--mode", choices=MODES, action="append")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=5, help="time for each scenario")
    parser.add_argument("--json")
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch sees no CUDA device")
    torch.set_num_threads(arguments.threads)
    print(f"torch {torch.__version__}, peft {peft.__version__}, {torch.cuda.get_device_name() if arguments.device == 'cuda' else 'cpu'}")
    rows = []
    for dtype in arguments.dtype or ["float32"]:
        for mode in arguments.mode or ["train"]:
            for dropout in arguments.dropout or [0.0]:
                for shape in arguments.shape:
                    rows += measure(shape, dropout, dtype, arguments.device, mode, arguments.seconds)
                    gc.collect()
                    for row in rows[-3:]:
                        print("{in}->{out} T {tokens} r {rank} p {dropout} {dtype} {mode} {method}: {median_ms} ms, {ratio_floor} floors, saved {saved_bytes}, peak {peak_bytes}".format(**row), flush=True)
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(rows, file, indent=2)
            file.write("\n")


if __name__ == "__main__":
    main()
