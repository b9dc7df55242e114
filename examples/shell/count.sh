#!/bin/sh
# Counts to STEPS, one step in a while, with a file for each.
set -eu

: "${STEPS:=5}" "${PAUSE:=0.2}"
mkdir -p counts
step=0

save() {
    echo "counted to $step of $STEPS" > summary.txt
}

# Told to stop: by its client, at its time limit, or when the worker ends. What is saved here still goes back.
trap 'save; echo "stopped at $step"; exit 3' TERM

while [ "$step" -lt "$STEPS" ]; do
    step=$((step + 1))
    echo "$step" > "counts/$step.txt"
    # This line is progress: it becomes the client's progress bar. All others are output.
    echo "::loaner progress $step/$STEPS step $step"
    # In the background, since a shell handles a signal only between two commands.
    sleep "$PAUSE" &
    wait $!
done
save
echo "done: $(cat summary.txt)"
