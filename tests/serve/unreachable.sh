# An unreachable peer, in a network namespace of its own (`unshare -rn bash unreachable.sh BUCLE`): packets in both
# directions are lost, as when a cable is pulled. The server must disconnect the peer, and the other member must not notice.
set -eu
trap 'kill $(jobs -p) 2>/dev/null' EXIT
ip link set lo up
"$1" serve relay --port 8080 --write-timeout 2s --outbox-limit 32M -vv >listening 2>log &
server=$!
until grep -q listening listening; do sleep 0.05; done

mkfifo quiet
exec 4<>quiet
nc -s 127.0.0.2 127.0.0.1 8080 <&4 >unreachable &
exec 3<>/dev/tcp/127.0.0.1/8080
cat <&3 >received &
until grep -q there unreachable; do
    echo 'are you there' >&3
    sleep 0.05
done

ip route add blackhole 127.0.0.2/32 table local
# More than the kernel buffers for a peer without acknowledgements, less than the limit of an outbox.
yes "$(printf '%0999d' 7)" | head -n 4000 >&3
until grep 'none was sent for 2s' log; do sleep 0.05; done
echo 'I am still here' >&3
until grep -q 'still here' received; do sleep 0.05; done
[ "$(grep -c '^0*7$' received)" -eq 4000 ]

kill -TERM $server
wait $server
