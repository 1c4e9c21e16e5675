#!/usr/bin/env bash
# From public data to a model of your own: build, train, evaluate, compare, card; and, with OWNER,
# push, and evaluate what was pushed. 105 minutes measured on two CPU cores (docs/results.md).
#
#   UNIPROT="uniprot.dat.gz" ENZYME=enzyme.dat runs/protein-smollm2.sh
#   OWNER=my-name UNIPROT="uniprot.dat.gz" ENZYME=enzyme.dat runs/protein-smollm2.sh
#
# Every step is a command of `proteinlm` that runs alone, too, and leaves a file that the next ones
# read. A step whose file is there is skipped: after a stop, run the script again.
set -euo pipefail

WORK=${WORK:-runs/protein-smollm2}     # all that is made, with the seconds of each step
PROTEINLM=${PROTEINLM:-proteinlm}
: "${UNIPROT:?names files of UniProtKB, as in UNIPROT='uniprot.dat.gz'}"
: "${ENZYME:?names the file of ENZYME, as in ENZYME=enzyme.dat}"
CACHE=${PROTEINLM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/proteinlm}
BASE=${BASE:-$CACHE/SmolLM2-135M-Instruct}                   # the model to start from, a folder,
BASE_ID=${BASE_ID:-HuggingFaceTB/SmolLM2-135M-Instruct}      # what it is called on the Hub,
BASE_LICENSE=${BASE_LICENSE:-apache-2.0}                     # and its licence
NAME=${NAME:-SmolLM2-135M-protein}
OWNER=${OWNER:-}                       # user or organisation on the Hub; empty: nothing is pushed
SPLIT=${SPLIT:-"{by: similarity}"}     # docs/datasets.md has the others
CPT=${CPT:-}                           # more --set for continued pretraining, separated by spaces
SFT=${SFT:-}                           # and for fine-tuning
# Tasks beside ProteinLMBench, "none" for none, and tasks in which the model writes its answer;
# lm-eval fetches their data from the Hub.
GENERAL=${GENERAL:-mmlu_virology,mmlu_medical_genetics,mmlu_college_biology}
GENERATED=${GENERATED:-proteinlm_sft_answers,gsm8k}
LIMIT=${LIMIT:-20}                     # rows of each task in GENERATED: to write is slow
BATCH=${BATCH:-8}

mkdir -p "$WORK"
[ -f "$WORK/seconds.tsv" ] || : >"$WORK/seconds.tsv"

say() { printf '\n== %s\n' "$*" >&2; }

# step NAME FILE COMMAND...: run a command that makes FILE (a pattern), once.
step() {
	local name=$1 file=$2 start=$SECONDS
	shift 2
	if grep -q "^$name	" "$WORK/seconds.tsv" && compgen -G "$file" >/dev/null; then
		say "$name: there is $file"
		return
	fi
	say "$name:$(printf ' %q' "$@")"
	"$@" >&2
	compgen -G "$file" >/dev/null || { say "$name left no $file"; exit 1; }
	printf '%s\t%s\n' "$name" $((SECONDS - start)) >>"$WORK/seconds.tsv"
}

# into FILE COMMAND...: keep what a command prints, whole or not at all.
into() {
	local file=$1
	shift
	"$@" >"$file.unfinished"
	mv "$file.unfinished" "$file"
}

# train RUN RECIPE SETTING...
train() {
	local run=$1 recipe=$2 setting settings=()
	shift 2
	for setting in "$@" "run.output_dir=$WORK/$run"; do settings+=(--set "$setting"); done
	step "$run" "$WORK/$run/final/*.safetensors" "$PROTEINLM" train run "$recipe" "${settings[@]}"
}

# evaluate RUN PART SAMPLES TASKS MODEL OPTION...: leaves, among others, samples_SAMPLES*.jsonl.
evaluate() {
	local run=$1 part=$2 samples=$3 tasks=$4 model=$5
	shift 5
	step "evaluate-$run-$part" "$WORK/results/$run/*/samples_$samples*.jsonl" \
		"$PROTEINLM" eval --model "$model" --tasks "$tasks" --output_path "$WORK/results/$run" "$@"
}

# evaluate_model RUN FOLDER: letters, the loss on held-out rows, and a few answers that are written.
evaluate_model() {
	local run=$1 arguments="pretrained=$2,dtype=float32" rows="{\"sft_data\": \"$WORK/data\"}"
	evaluate "$run" letters proteinlmbench_ "$LETTERS" proteinlm-hf --model_args "$arguments" \
		--batch_size "$BATCH" --no_chat_template --cache "$WORK/answers"
	evaluate "$run" loss proteinlm_sft_ proteinlm_sft_loss hf \
		--model_args "$arguments" --batch_size "$BATCH" --apply_chat_template --metadata "$rows"
	evaluate "$run-written" "$LIMIT" "" "$GENERATED" hf --model_args "$arguments" \
		--batch_size "$BATCH" --apply_chat_template --metadata "$rows" --limit "$LIMIT"
}

LETTERS=proteinlmbench
[ "$GENERAL" = none ] || LETTERS=$LETTERS,$GENERAL

# Data: instructions and texts, without the benchmark's questions, split by similarity.
if [ ! -f "$WORK/data.yaml" ]; then
	files=$(printf '"%s", ' $UNIPROT)
	cat >"$WORK/data.yaml" <<-YAML
		name: ProteinLMDataset of $NAME
		uniprot: [${files%, }]
		enzyme: "$ENZYME"
		split: $SPLIT
		decontaminate: proteinlmbench
		texts: {uniprot: true}
	YAML
fi
step data "$WORK/data/manifest.json" "$PROTEINLM" data build "$WORK/data.yaml" --out "$WORK/data"
step check "$WORK/check.json" \
	into "$WORK/check.json" "$PROTEINLM" data check "$WORK/data" --against proteinlmbench --json

# Training: all weights on the texts, then an adapter on the instructions, merged at the end.
[ -f "$BASE/config.json" ] ||
	step base "$BASE/config.json" "$PROTEINLM" quickstart --output_path "$WORK/quickstart"
train cpt smollm2-135m-cpt "model.path=$BASE" "model.license=$BASE_LICENSE" \
	"data.sources.0.path=$WORK/data" "data.sources.0.configs=[ssl_uniprot]" $CPT
train sft smollm2-135m-sft "model.path=$WORK/cpt/final" "model.license=$BASE_LICENSE" \
	"data.sources.0.path=$WORK/data" $SFT
step export "$WORK/$NAME/config.json" "$PROTEINLM" train export "$WORK/sft/recipe.yaml" \
	--merge --dtype float32 --out "$WORK/$NAME"

# Evaluation: the base, the tuned model, the longest option, and a lookup in the training rows.
evaluate_model base "$BASE"
evaluate_model tuned "$WORK/$NAME"
evaluate longest letters proteinlmbench_ proteinlmbench heuristic --model_args rule=longest
evaluate lookup-written "$LIMIT" "" proteinlm_sft_answers retrieval \
	--model_args "data=$WORK/data" --metadata "{\"sft_data\": \"$WORK/data\"}" --limit "$LIMIT"

# Comparison: tasks that were asked whole, and apart from them those of a few rows.
whole=("base=$WORK/results/base" "tuned=$WORK/results/tuned" "longest=$WORK/results/longest")
few=("base=$WORK/results/base-written" "tuned=$WORK/results/tuned-written")
few+=("lookup=$WORK/results/lookup-written")
for format in md html; do
	step "compare-$format" "$WORK/comparison.$format" \
		"$PROTEINLM" compare "${whole[@]}" --output "$WORK/comparison.$format"
	step "compare-written-$format" "$WORK/comparison-written.$format" \
		"$PROTEINLM" compare "${few[@]}" --allow-limited --output "$WORK/comparison-written.$format"
done

# Card, and with OWNER the Hub: pushed, and evaluated from there.
repo=()
[ -z "$OWNER" ] || repo=(--repo "$OWNER/$NAME")
step card "$WORK/$NAME/README.md" "$PROTEINLM" card model "$WORK/$NAME" --run "$WORK/sft" \
	--data "$WORK/data" --base "$BASE_ID" --results "${whole[@]}" "${repo[@]}"
if [ -n "$OWNER" ]; then
	step push-data "$WORK/pushed-data.json" into "$WORK/pushed-data.json" \
		"$PROTEINLM" push dataset "$WORK/data" "$OWNER/$NAME-data" --yes --json
	step push-model "$WORK/pushed-model.json" into "$WORK/pushed-model.json" \
		"$PROTEINLM" push model "$WORK/$NAME" "$OWNER/$NAME" --yes --json
	evaluate published letters proteinlmbench_ proteinlmbench proteinlm-hf --no_chat_template \
		--model_args "pretrained=$OWNER/$NAME,dtype=float32" --batch_size "$BATCH"
	step same "$WORK/same.json" "$PROTEINLM" compare "tuned=$WORK/results/tuned" \
		"published=$WORK/results/published" --tasks proteinlmbench --output "$WORK/same.json"
	python3 - "$WORK/same.json" <<-'PYTHON'
		import json, sys
		contrasts = json.load(open(sys.argv[1]))["contrasts"]
		found = [(c["difference"]["num_better"], c["difference"]["num_worse"]) for c in contrasts]
		if found != [(0, 0)]:
		    sys.exit(f"The published model answers otherwise than the one at hand: {contrasts}")
	PYTHON
fi

say "seconds by step"
cat "$WORK/seconds.tsv" >&2
cat "$WORK/comparison.md"
