# Hears no signal, and leaves processes everywhere: in sessions of their own, twice forked, without environment.
project=$1 token=$2
trap '' TERM INT HUP
nohup sleep "60.$token" > /dev/null 2>&1 &
setsid sleep "61.$token" &
env -i setsid nohup sleep "62.$token" > /dev/null 2>&1 &
(setsid sh -c "trap '' TERM HUP; (sleep 63.$token & env -i sleep 64.$token & exec env -i sleep 65.$token) & sleep 66.$token" &)
setsid sh -c "trap '' TERM; while :; do env -i sleep 67.$token; done" > /dev/null 2>&1 &
touch "$project/started.$token"
while :; do sleep 68."$token"; done
