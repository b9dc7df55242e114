#!/bin/sh
# Fits y = a*x^2 + b*x + c to noisy samples by gradient descent, and saves the model.
# Needs nothing but a POSIX shell and awk.
set -eu

mkdir -p models
echo "training on $(wc -l < samples.csv) samples for ${EPOCHS:=30} epochs at rate ${RATE:=0.4}"

awk -F, -v epochs="$EPOCHS" -v rate="$RATE" '
    { x[NR] = $1; y[NR] = $2 }
    END {
        a = b = c = 0
        for (epoch = 1; epoch <= epochs; epoch++) {
            # Several full passes make an epoch, so that the loss visibly falls from one to the next.
            for (pass = 0; pass < 40; pass++) {
                da = db = dc = 0
                for (i = 1; i <= NR; i++) {
                    e = a * x[i] * x[i] + b * x[i] + c - y[i]
                    da += e * x[i] * x[i]; db += e * x[i]; dc += e
                }
                a -= rate * da / NR; b -= rate * db / NR; c -= rate * dc / NR
            }
            loss = 0
            for (i = 1; i <= NR; i++) {
                e = a * x[i] * x[i] + b * x[i] + c - y[i]
                loss += e * e
            }
            printf "epoch %d/%d  loss %.6f\n", epoch, epochs, loss / NR
            printf "%d,%.6f\n", epoch, loss / NR > "models/history.csv"
            fflush()
        }
        printf "{\"kind\": \"quadratic\", \"a\": %.4f, \"b\": %.4f, \"c\": %.4f, \"loss\": %.6f}\n", a, b, c, loss / NR > "models/model.json"
    }
' samples.csv

echo "saved models/model.json: $(cat models/model.json)"
