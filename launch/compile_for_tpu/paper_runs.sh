#!/usr/bin/env bash
# Compiles the steps of the paper's runs for TPU slices, into paper_runs.json: hours on two cores, no TPU.
#   bash launch/compile_for_tpu/paper_runs.sh && python -m launch.compile_for_tpu.table launch/compile_for_tpu/paper_runs.json
set -euo pipefail
cd "$(dirname "$0")/../.."

compile() { # RUN TOPOLOGY STEP [options]; exit status 3, it does not fit, is a result
  local run=$1 topology=$2 step=$3 table=launch/compile_for_tpu/paper_runs.json status=0
  python -m launch.compile_for_tpu --config="configs/$run" --topology="$topology" --step="$step" --table="$table" "${@:4}" ||
    status=$?
  ((status == 0 || status == 3))
}

spinenet=coco_spinenet.py:size= retinanet=coco_retinanet.py:backbone= nasfpn=voc_nasfpn.py:backbone=
few=--config.optimizer.remat=convolutions # of what the forward pass computes is kept
evaluate=--config.eval.batch_size=        # of all hosts together; divisible by the chips

# Each run on slices around the smallest on which it fits, with and without $few.
compile ${retinanet}resnet50 v5e:2x4 student ${evaluate}64 $few
compile ${retinanet}resnet50 v5e:4x4 student ${evaluate}128
compile ${retinanet}resnet50 v5e:4x4 student ${evaluate}128 --config.model.dtype=float32
compile ${retinanet}resnet101 v5e:4x4 student ${evaluate}128 --config.model.dtype=bfloat16 $few
compile ${retinanet}resnet101 v5e:4x8 student ${evaluate}128 --config.model.dtype=bfloat16
compile ${retinanet}efficientnet_b7 v5e:4x8 student ${evaluate}512 $few
compile ${retinanet}efficientnet_b7 v5e:8x8 student ${evaluate}512
compile ${retinanet}efficientnet_b7 v5e:8x8 student ${evaluate}512 $few
compile ${spinenet}143 v5e:4x8 student ${evaluate}128 $few
compile ${spinenet}143 v5e:8x8 student ${evaluate}128
compile ${spinenet}143 v5e:8x8 student ${evaluate}128 $few
compile ${spinenet}190 v5e:8x8 student ${evaluate}128 $few
compile ${spinenet}190 v5e:8x16 student ${evaluate}128 $few
compile ${spinenet}190 v5e:16x16 student ${evaluate}256 --config.teacher.batch_size=256
compile ${nasfpn}b7 v5e:4x8 student ${evaluate}512
compile ${nasfpn}b7 v5e:4x8 student ${evaluate}512 $few
compile ${nasfpn}b7 v5e:8x8 student ${evaluate}512
compile ${nasfpn}b7 v5e:8x8 student ${evaluate}512 $few
compile ${nasfpn}l2 v5e:8x8 student ${evaluate}256 $few
compile ${nasfpn}l2 v5e:16x16 student ${evaluate}256 $few

for backbone in resnet50 resnet101 efficientnet_b7; do
  compile $retinanet$backbone v5e:2x2 label ${evaluate}32 --config.model.dtype=bfloat16
done
compile ${nasfpn}b7 v5e:2x2 label ${evaluate}32
compile ${nasfpn}l2 v5e:2x2 label ${evaluate}16
compile ${spinenet}190 v5e:2x2 label ${evaluate}16
compile ${spinenet}143 v5e:2x2 label ${evaluate}16
compile ${spinenet}143 v5e:2x2 selection ${evaluate}16

# Weak scaling: 8 images a chip at 256 px.
for chips in 2x4=64 8x8=512 16x16=2048; do
  images=${chips#*=}
  compile ${retinanet}resnet50 "v5e:${chips%=*}" student "$evaluate$images" --config.image.size_px=256 \
    --config.teacher.batch_size="$images" --config.student.batch_size="$images"
done
