#!/bin/sh
# First process of the guests that crash; the command line's `cas=` names the cause.
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs -o size=1m tmpfs /tmp
mount /dev/vda /data
hostname crash-guest

insmod /modules/nf-cas-dummy.ko
insmod /modules/cas_crashes.ko
sleep 3600 &
sh -c 'while :; do sleep 1; done' &
sleep 2

crash() {
    echo "$cas" >/proc/cas_crashes
}

case $cas in
    sysrq) echo c >/proc/sysrq-trigger ;;
    crowd)
        i=0
        while [ $i -lt 500 ]; do
            sleep 3600 &
            i=$((i + 1))
        done
        echo c >/proc/sysrq-trigger
        ;;
    mce) echo "cas_crashes: mce" >/dev/kmsg ;;
    oom-task) tail /dev/zero ;;
    oom-shmem)
        mount -t tmpfs -o size=100% tmpfs /mnt
        cat /dev/zero >/mnt/spool
        ;;
    oom-cgroup)
        mount -t cgroup2 cgroup2 /sys/fs/cgroup
        echo +memory >/sys/fs/cgroup/cgroup.subtree_control
        mkdir /sys/fs/cgroup/batch
        echo 24M >/sys/fs/cgroup/batch/memory.max
        sh -c 'echo $$ >/sys/fs/cgroup/batch/cgroup.procs; exec tail /dev/zero'
        ;;
    frozen)
        fsfreeze --freeze /data
        echo written >/data/file
        ;;
    io-stuck)
        crash
        mount -t ext2 /dev/casdisk0 /mnt
        ;;
    rt-hog) taskset 2 sh -c 'echo rt-hog >/proc/cas_crashes; while :; do :; done' ;;
    jump-unloaded)
        insmod /modules/cas_gone.ko
        rmmod cas_gone
        sh -c "echo $cas >/proc/cas_crashes"
        ;;
    *) sh -c "echo $cas >/proc/cas_crashes" ;;
esac
sleep 3600
