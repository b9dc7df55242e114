"""Fits y = a*x + b by gradient descent. It saves what it has when it is told to stop."""

import argparse
import json
import pathlib
import random
import time


def tell(progress, message):
    """A line of JSON by which Loaner knows how far this is."""
    print(json.dumps({"loaner": {"progress": progress, "message": message}}), flush=True)


def save(a, b, epoch, loss):
    models = pathlib.Path("models")
    models.mkdir(exist_ok=True)
    model = {"a": round(a, 4), "b": round(b, 4), "epoch": epoch, "loss": round(loss, 6)}
    (models / "line.json").write_text(json.dumps(model) + "\n")
    print(f"saved models/line.json: {model}", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--pause", type=float, default=0.02, help="seconds between two epochs")
    args = parser.parse_args()

    source = random.Random(1)
    xs = [source.uniform(-1, 1) for _ in range(200)]
    samples = [(x, 2 * x + 1 + source.gauss(0, 0.05)) for x in xs]
    a = b = 0.0
    epoch, loss = 0, float("inf")
    try:
        for epoch in range(1, args.epochs + 1):
            errors = [(a * x + b - y, x) for x, y in samples]
            a -= 0.2 * sum(error * x for error, x in errors) / len(samples)
            b -= 0.2 * sum(error for error, _ in errors) / len(samples)
            loss = sum(error * error for error, _ in errors) / len(samples)
            tell(epoch / args.epochs, f"epoch {epoch} loss={loss:.4f}")
            time.sleep(args.pause)
    except KeyboardInterrupt:
        # Told to stop: what there is still goes back, and the exit code says that it is not all.
        save(a, b, epoch, loss)
        raise SystemExit(3)
    save(a, b, epoch, loss)


if __name__ == "__main__":
    main()
