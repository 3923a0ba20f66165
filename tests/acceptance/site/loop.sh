# Writes OUT in steps for RUN_S seconds, and says "done TEXT" last. Two at once in one task are told of.
out=$1 text=$2 run_s=$3
exec 9> "$HOME/../alone"
flock -n 9 || echo "$PROOFQ_TASK_ID $PROOFQ_ATTEMPT" >> "$(dirname "$0")/overlaps"
echo begun > "$out"
steps=$(awk -v s="$run_s" 'BEGIN { print int(s / 0.1) }')
while [ "$steps" -gt 0 ]; do
    echo "step $steps" >> "$out"
    sleep 0.1
    steps=$((steps - 1))
done
echo "done $text" >> "$out"
