#!/bin/sh
# First process of fixture A: sets up what the snippets show, then lets cas_oops crash the kernel.
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs -o size=1m tmpfs /tmp
mount /dev/vda /data
mount -o loop /disk.ext2 /mnt
hostname cas-guest

ip link set lo up
ip addr add 192.0.2.1/24 dev dummy0
ip link set dummy0 up
nc -l -p 7 &

insmod /modules/nf-cas-dummy.ko
insmod /modules/cas_stuck.ko
echo 2 >/proc/sys/kernel/hung_task_timeout_secs
echo 1 >/proc/sys/kernel/hung_task_warnings
cat /proc/cas_stuck &
echo opened >/mnt/log
tail -f /mnt/log >/tmp/log &
sleep 3600 &
sh -c 'while :; do sleep 1; done' &

sleep 6
insmod /modules/cas_oops.ko
sleep 3600
