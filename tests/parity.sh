#!/usr/bin/env bash
# tools/parity.py finds every step equal where it is, and names the first that is not: parity.sh PROGRAM. Needs the Python
# that `make goldens` and `make parity` set up; without it the test is skipped (77), for its packages take gigabytes.
set -euo pipefail
program=$1
cd "$(dirname "$0")/.."
if [[ -z ${PYTHON:-} ]] && ! cmp -s tools/goldens/requirements.txt build/goldens/requirements.txt; then
  echo "parity: skipped, for there is no build/goldens: make goldens or make parity sets it up"
  exit 77
fi
python=$(tools/golden_python.sh)
export OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=1
pictures=(examples/pictures/chelsea.png tests/goldens/pictures/decode/baseline_420.jpg)

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# timm's transform and network, by our card; transformers' by its folder, and the one that resizes floats.
cp -r tests/goldens/layouts/hf_dinov3 "$folder/dinov3"
cat > "$folder/dinov3/preprocessor_config.json" <<END
{"image_processor_type": "DINOv3ViTImageProcessor", "size": {"height": 64, "width": 64}, "resample": 2,
 "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
END
for model in models/convnext_cifar10.safetensors tests/goldens/layouts/hf_convnext "$folder/dinov3"; do
  "$python" tools/parity.py "$model" "${pictures[@]}" --program "$program" | tee /dev/stderr | grep -qx "every step agrees"
done

# A program that resizes in another way.
cat > "$folder/convnext" <<END
#!/usr/bin/env bash
more=()
[[ \$1 != preprocess ]] || more=(--pipeline torchvision)
exec "$program" "\$@" "\${more[@]}"
END
chmod +x "$folder/convnext"
code=0
"$python" tools/parity.py models/convnext_cifar10.safetensors "${pictures[0]}" --program "$folder/convnext" \
  > "$folder/said" || code=$?
cat "$folder/said"
[[ $code -eq 1 ]] && grep -q "the first step that differs is resize" "$folder/said"
