# Ends well while others of its making go on: one writes to the file, two hold the pipes open.
(while :; do date +%N >> "$1"; sleep 0.01; done) &
echo $! >> "$1.pids"
setsid sleep 300 &
echo $! >> "$1.pids"
(nohup setsid sleep 301 > /dev/null 2>&1 & echo $! >> "$1.pids")
while [ ! -s "$1" ]; do sleep 0.01; done
