head -c "$1" /dev/zero | tr '\0' x
printf '\n%s\n' "$2"
head -c "$1" /dev/zero | tr '\0' y >&2
printf '\n%s\n' "$2" >&2
