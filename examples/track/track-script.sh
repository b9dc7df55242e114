#!/bin/bash
sleap-nn track \
    --data_path labels.slp \
    --only_suggested_frames \
    --model_paths models/centroid \
    --model_paths models/centered_instance \
    -o labels.predictions.slp
