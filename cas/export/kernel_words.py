"""Words that a report must keep to be of use, whatever a machine or a person is called."""

from __future__ import annotations

import re


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


PLACES = re.compile(
    r"(?<![\w.])([A-Za-z_][\w.]{0,127})\+(?:0x)?[0-9a-f]"
    r"|(?:\] |#\d{1,3} +|\(inline\) +)([A-Za-z_][\w.]{0,127})"
    r"|\[([A-Za-z]\w{0,63})\]|/([A-Za-z]\w{0,63})\.(?:ko|c|h|S)\b"
)
"""Functions, kernel modules and files of the source, as logs and debuggers name them."""
KEPT_HOSTS = _words(
    """
    localhost localhost4 localhost6 localhost.localdomain (none) none unknown null
    """
)
KEPT_DOMAINS = (
    *("kernel.org", "redhat.com", "fedoraproject.org", "centos.org", "debian.org", "ubuntu.com"),
    *("launchpad.net", "suse.com", "suse.de", "opensuse.org", "oracle.com", "rockylinux.org"),
    *("almalinux.org", "amazonlinux.com", "gnu.org", "github.com", "gitlab.com", "w3.org"),
    *("lwn.net", "infradead.org", "freedesktop.org", "sourceforge.net", "nvidia.com", "intel.com"),
    *("in-addr.arpa", "ip6.arpa", "sourceware.org", "schema.org", "json-schema.org"),
)
"""Whoever makes kernels, drivers and documents: they are nobody's secret."""
KEPT_USERS = _words(
    """
    root nobody nogroup daemon bin sys sync games man lp mail news uucp proxy www-data backup
    list irc adm operator ftp sshd rpc rpcuser dbus polkitd chrony ntp tss postfix apache
    nginx mysql postgres oracle systemd-network systemd-resolve systemd-coredump messagebus
    syslog kvm qemu user users admin administrator guest none unset default system kernel init
    casuser cas lost+found shared public name
    """
)
"""Accounts that every system has."""
WORDS = _words(
    """
    linux kernel kern host hosts hostname node nodes server client user users root home data
    disk mem memory page pages task tasks test tests net network dev device devices driver
    drivers file files path name names main mail time timer lock locks work worker queue list
    tree block cpu cpus smp numa irq softirq sched rcu proc process thread stack trace call
    code fault error panic oops bug warning info debug crash dump vmcore vmlinux core module
    modules symbol type struct state status flags size addr address start end begin read write
    open close init exit power machine system systemd bios firmware hardware vendor product
    board version release build model serial console tty port bus pci usb scsi nvme ata ahci
    virtio ext4 ext2 xfs btrfs nfs nfsd cifs tcp udp ipv4 ipv6 eth bond vlan bridge tun tap
    loop zram swap slab slub kmem cache buffer bio request inode dentry super mount cgroup
    idle swapper kworker kthread kthreadd ksoftirqd migration watchdog khugepaged kswapd xen
    kvm qemu vm vms intel amd x86 x86_64 arm64 aarch64 none null true false yes offset string
    report title what where when verdict evidence text json html summary ticket
    """
)
"""What is said in every report."""
BUILDERS = re.compile(
    r"(?:mockbuild|buildd|geeko|kbuild|root|builder|debian-kernel|abuild|nixbld|cas)@"
    r"(?:[\w-]+(?:\.[\w-]+)*\.(?:"
    + "|".join(map(re.escape, KEPT_DOMAINS))
    + r")|lcy\d+-\w+-\d+|buildhost|buildvm[\w.-]*|lists\.debian\.org|fixtures|bos\d+-\w+-\d+)"
)
"""Who built the kernel, where that was its distributor."""
NO_MAIL = _words(
    """
    service socket timer mount automount device target slice scope path swap
    """
)
"""Ends of systemd's units, of which ``getty@tty1.service`` looks like an address of mail."""
