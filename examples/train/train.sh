#!/bin/sh
# Fits y = a*x^2 + b*x + c to noisy samples by gradient descent, and saves the model.
# Needs nothing but a POSIX shell and awk.
set -eu

# In some languages awk would read and write 0,5 for 0.5.
LC_ALL=C
export LC_ALL

: "${EPOCHS:=30}" "${RATE:=0.01}"
mkdir -p models
echo "training on $(grep -c , samples.csv) samples for $EPOCHS epochs at rate $RATE"

awk -F, -v epochs="$EPOCHS" -v rate="$RATE" '
    { x[NR] = $1; y[NR] = $2 }
    END {
        a = b = c = 0
        for (epoch = 1; epoch <= epochs; epoch++) {
            # An epoch is many small steps, so that it takes a moment and the loss visibly falls from one to the next.
            for (step = 0; step < 200; step++) {
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
            # Whoever watches sees each epoch when it is done, not all of them at the end.
            fflush()
        }
        printf "{\"kind\": \"quadratic\", \"a\": %.4f, \"b\": %.4f, \"c\": %.4f, \"loss\": %.6f}\n", a, b, c, loss / NR > "models/model.json"
    }
' samples.csv

echo "saved models/model.json: $(cat models/model.json)"
