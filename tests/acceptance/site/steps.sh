# Work in ten steps a second for $2 seconds, shown by nothing ("silent"), on stdout ("prints") or stderr ("complains"),
# or by a transcript that grows ("writes") where claude keeps its own. Ends as claude does.
transcripts="$HOME/.claude/projects/here"
mkdir -p "$transcripts"
left=$(($2 * 10))
while [ "$left" -gt 0 ]; do
    case "$1" in
        prints) echo "step $left" ;;
        complains) echo "step $left" >&2 ;;
        writes) echo "{\"step\": $left}" >>"$transcripts/session.jsonl" ;;
    esac
    left=$((left - 1))
    sleep 0.1
done
echo '{"type": "result", "subtype": "success", "is_error": false, "num_turns": 1, "permission_denials": [], "result": "done"}'
