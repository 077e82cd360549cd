"""What is secret in a text, in whatever encoding, and what must stay for a report to be of use."""

from __future__ import annotations

import gzip
from base64 import b64encode
from time import process_time

import pytest
from planted import SECRETS, SURVIVORS, TELLING, WORDS, encoded, leaks

from cas.choices import SecretKind
from cas.export.names import Names
from cas.export.redaction import Redactor


def gzipped(text: str) -> str:
    return b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def redacted(text: str, *more: str) -> str:
    names = names_of(text, *more)
    return Redactor(names).text(text)


def names_of(*texts: str) -> Names:
    names = Names()
    for word in WORDS:
        names.add(SecretKind.WORD, word)
    names.add(SecretKind.TICKET, SECRETS["ticket"])
    for text in texts:
        names.learn(text)
    return names


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_comes_out_in_no_encoding(name: str) -> None:
    secret = SECRETS[name]
    forms = encoded(secret)
    shown = redacted(TELLING + "".join(f"\n{form}:\n{text}\n" for form, text in forms.items()))
    assert not leaks(shown, secret), shown[len(TELLING) - 200 :]


@pytest.mark.parametrize("text", SURVIVORS)
def test_what_a_report_is_read_by_stays(text: str) -> None:
    assert redacted(f"{TELLING}\n{text}\n").splitlines()[-1] == text
    assert (
        redacted(f"{TELLING}\nbefore: {text}, and behind\n")
        .splitlines()[-1]
        .startswith("before: " + text)
    )


@pytest.mark.parametrize(
    ("line", "secrets"),
    [
        ("nfs: server filer7 not responding, timed out", ["filer7"]),
        ("ffff891d0021e280 ffff891d00810000 nfs4   filer:/vol/a  /home", ["filer"]),
        ("mount -t nfs nas-03:/export/db1 /srv", ["nas-03"]),
        (r"CIFS: Attempting to mount \\\\srv01\\share", ["srv01"]),
        ("CIFS: VFS: \\\\srv01\\share BAD_NETWORK_NAME".replace("\\\\", "\\" * 2), ["srv01"]),
        ("mount.cifs //winsrv/data /mnt", ["winsrv"]),
        ("Dec  1 15:09:11 dbhost kernel: [  1.0] x", ["dbhost"]),
        ("Command line: ip=192.0.2.9:192.0.2.1:192.0.2.254:255.255.255.0:apphost:eth0:off",
         ["192.0.2.9", "192.0.2.254", "apphost"]),
        ("Linux version 6.6.1 (erika@buildbox) (gcc 12) #1 SMP", ["erika", "buildbox"]),
        ("COMMAND: ssh -p 22 jonas@jumphost", ["jonas", "jumphost"]),
        ("su[812]: (to root) henrik on pts/0", ["henrik"]),
        ("sudo:   mara : PWD=/home/mara ; USER=root ; COMMAND=/bin/sh", ["mara"]),
        ("sshd[9]: Accepted publickey for svenja from 198.51.100.7 port 4", ["svenja", ".100.7"]),
        ("qla2xxx [0000:3b:00.0]: WWPN: 21:00:00:24:ff:7c:3a:92", ["21:00:00:24:ff:7c:3a:92"]),
        ("lpfc 0000:05:00.0: wwpn 10000090fa942b01 x", ["10000090fa942b01"]),
        ("nvme nvme0: NQN nqn.2019-08.org.example:nvme:S4YPNG0R2", ["S4YPNG0R2"]),
        ("/dev/disk/by-id/ata-SAMSUNG_MZ7LH960_S45NNA0N312", ["S45NNA0N312"]),
        ("DMI_PRODUCT_SERIAL: 7CX1M23", ["7CX1M23"]),
        ("    Service Tag: 7CX1M23", ["7CX1M23"]),
        ("bond0: (slave ens3f0): hw addr ae-12-00-9F-3c-01", ["ae-12-00-9F-3c-01"]),
        ("  1.7.100.51.198.in-addr.arpa PTR 7.100.51.198.in-addr.arpa", ["7.100.51.198"]),
        ("192.0.2.77-manager", ["192.0.2.77"]),
        ("rpc: 192.0.2.78.8.1", ["192.0.2.78"]),
        ("Kernel: BOOTIF=01-52-54-00-ab-cd-ef", ["52-54-00-ab-cd-ef"]),
        ("Command line: nfsroot=filer:/srv ip=[2001:db8::5]::[2001:db8::1]:64:apphost:eth0:none",
         ["filer", "apphost", "db8"]),
        ("2026-12-01T15:09:11.123456+01:00 dbhost kernel: [ 1.0] x", ["dbhost"]),
        ("Linux dbhost 6.1.0-17-amd64 #1 SMP PREEMPT_DYNAMIC", ["dbhost"]),
        ("[hugo@dbhost ~]$ ls", ["hugo", "dbhost"]),
        ("root@dbhost:~# ls", ["dbhost"]),
        ("pam_unix(su:auth): logname=tina uid=1 ruser=tinb rhost=dbhost  user=tinc",
         ["tina", "tinb", "tinc", "dbhost"]),
        ("sudo:    dave : TTY=pts/0 ; PWD=/srv ; USER=root", ["dave"]),
        ('type=USER_LOGIN AUID="frank" UID="frank"', ["frank"]),
        ("session opened for user mona(uid=1000) by nina(uid=0)", ["mona", "nina"]),
        ("systemd-logind[1]: New session 3 of user otto.", ["otto"]),
        ("sshd[1]: Invalid user quirin from 192.0.2.1", ["quirin"]),
        ("sshd[1]: Connection closed by authenticating user rolf 192.0.2.1 port 3", ["rolf"]),
        ("CRON[1]: (sven) CMD (/bin/x)", ["sven"]),
        ("rd.luks.uuid=luks-aaaa7a54-0d3c-4c1e-9a57-2f8e1b6d4c91", ["aaaa7a54"]),
        ("kubepods-burstable-podaaaa7a54_0d3c_4c1e_9a57_2f8e1b6d4c91.slice", ["aaaa7a54"]),
        (r"dev-disk-by\x2duuid-aaaa7a54\x2d0d3c\x2d4c1e\x2d9a57\x2d2f8e1b6d4c91", ["aaaa7a54"]),
        ("root=UUID=1A2B-3C4D", ["1A2B-3C4D"]),
        ("task_memcg=/system.slice/docker-" + "4f5e6d7c" * 8 + ".scope", ["4f5e6d7c"]),
        ("Initializing machine ID from KVM UUID 0123456789abcdef0123456789abcdef.", ["89abcdef"]),
        ("nvme nvme0: Model X SN S4EVNX0R123456", ["S4EVNX0R123456"]),
        ("ib0: node GUID 0x0002c9030012abcd, 0002:c903:0012:abcd", ["12abcd", "0012:abcd"]),
        ("mpt3sas_cm0: SAS address 0x500304801234abcd", ["1234abcd"]),
        ("switch port 0A1B.2C3D.4e5f, mac=0a1b2c3d4e5f", ["2C3D", "2c3d"]),
        ("ssh-key SHA256:nThbg6kXUpJWGl7E1IGOCspRomTxdCARLviKw6E5SY8", ["nThbg6kX"]),
        ("COMMAND: mysql --password=hunter2x! --token abc.def", ["hunter2x", "abc.def"]),
        ("http://carol:topsecret@web9/", ["carol", "topsecret", "web9"]),
        ("mount.cifs -o username=emil,pass=geheim1,vers=3", ["emil", "geheim1"]),
        ("useradd -p $6$saltsalt$abcdefghijklmnop.qrstuvwx/yz0123456789", ["salts", "mnop"]),
        ('{"password": "hunter2x"}', ["hunter2x"]),
        (gzipped("login of pluto7 now and again"), [gzipped("login of pluto7 now and again")[4:]]),
    ],
)  # fmt: skip
def test_a_line_is_enough_to_know_a_name(line: str, secrets: list[str]) -> None:
    shown = redacted(line)
    assert not [each for each in secrets if each in shown], shown


@pytest.mark.parametrize(
    "line",
    [
        "sshd[1]: Failed password for root from a console",
        "random: crng init done; password authentication is off, pass: 3",
        "EDAC MC0: 1 CE memory read error on CPU_SrcID#0_MC#0_Chan#0_DIMM#0",
        "IDENTIFIER uid=1000 UID=0 gid=1000",
        "build 2023.0404.1234 of 5.14.0-427.13.1.el9_4",
        "efi: ACPI=0x7f7fa000 partition GUID table, x2apic enabled",
        "systemd[1]: Failed to set hostname: Operation not permitted",
        "console=ttyS0,115200 serial=ttyS0 earlycon",
        "Serial: 8250/16550 driver, 4 ports, IRQ sharing enabled",
        "Serial: AMBA PL011 UART driver",
        "exe:/usr/bin/cat in:/proc log:/var/log",
        "    Asset Tag: Not Specified",
        "driver: version: 5.13.0.2-k  firmware-version: 9.20 0x8000d8c5 22.0.9",
        "ACPI: DSDT 0x0000000005FE0040 001944 (v01 BOCHS  BXPC     00000001 BXPC 00000001)",
        "BIOS-e820: [mem 0x0000000000000000-0x000000000009fbff] usable",
        "ata1: SATA max UDMA/133 abar m4096@0xfebf1000 port 0xfebf1100 irq 24",
        "cpu@0 i2c@1c2b000 memcpy@plt",
        "clocksource: tsc: mask: 0xffffffffffffffff max_cycles: 0x233f5c94d1c",
        "usb 1-1: new high-speed USB device number 2 using xhci_hcd",
        "[<ffffffff81b2c3d4>] ? ret_from_fork+0x1f/0x30",
        "task:kworker/u8:3 state:D stack:0 pid:47 ppid:2 flags:0x00004000",
    ],
)
def test_what_only_looks_like_a_name_stays(line: str) -> None:
    assert redacted(line) == line


def test_one_name_has_one_replacement_however_it_is_written() -> None:
    text = (
        f"{TELLING}PLUTO7 pluto7.berlin.example.com Pluto7.Berlin.Example.Com. xpluto7y\n"
        "10.27.133.8 8.133.27.10.in-addr.arpa 0a1b8508, 08851b0a"
        " ::ffff:10.27.133.8 010.027.133.008\n"
        "2a02:810c:52:1f00::7e1 2A02:810C:0052:1F00:0000:0000:0000:07E1"
        " 2a02810c00521f0000000000000007e1\n"
        "52:54:00:c3:9e:17 52-54-00-C3-9E-17 525400c39e17 enx525400c39e17 5254.00c3.9e17\n"
    )
    lines = redacted(text).splitlines()[-4:]
    host, address, six, link = (line.split()[0] for line in lines)
    assert lines[0] == f"{host} {host} {host}. x{host}y"
    assert lines[1] == f"{address} {address}.in-addr.arpa {address}, {address} {address} {address}"
    assert lines[2] == f"{six} {six} {six}"
    assert lines[3] == f"{link} {link} {link} enx{link} {link}"
    assert len({host, address, six, link}) == 4


def test_columns_of_a_table_stay_where_they_are() -> None:
    table = "PID   USER        COMM\n17    amelie      bash\n18    konrad_x    sh\n"
    *_, head, first, second = redacted(TELLING + table).splitlines()
    assert first.index("bash") == head.index("COMM")
    assert second.index("sh") == head.index("COMM")


def test_a_name_that_is_a_word_of_the_kernel_is_replaced_only_as_a_name() -> None:
    text = (
        "[ 1.0] Call Trace:\n dev_get_drvdata+0x1/0x2 [dev]\n"
        "NODENAME: dev  \n/home/dev/x\n eth0: dev is up, device dev0\n"
    )
    names = names_of(text)
    names.add(SecretKind.USER, "dev")
    redactor = Redactor(names)
    shown = redactor.text(text)
    assert " dev_get_drvdata+0x1/0x2 [dev]\n" in shown
    assert "NODENAME: HOST-1" in shown and "/home/HOST-1/x" in shown
    assert " eth0: dev is up, device dev0\n" in shown
    assert "dev" in redactor.doubtful


def test_two_machines_of_one_name_in_two_domains_are_two() -> None:
    names = Names()
    first = names.add(SecretKind.HOST, "db1.alpha.example.com")
    second = names.add(SecretKind.HOST, "db1.beta.example.com")
    assert first != second
    assert names.add(SecretKind.HOST, "db1") == first


def test_a_digit_behind_a_name_does_not_make_another_replacement_of_it() -> None:
    assert "HOST-1_2" in redacted(f"{TELLING} pluto72 ")


def test_the_edges_of_a_listing_of_memory_tell_nothing() -> None:
    listing = "ffff888003c8d000:  6f74756c70000000 0000000000000000   ...pluto........"
    shown = redacted(f"{TELLING}{listing}\n").splitlines()[-1]
    assert shown.startswith("ffff888003c8d000:  ") and "pluto" in shown  # zeros follow it
    cut = "ffff888003c8d000:  0000000000000000 7265622e376f7475   ........uto7.ber"
    assert "uto7" not in redacted(f"{TELLING}{cut}\n").splitlines()[-1]


def test_a_ticket_that_may_be_any_number_is_replaced_only_where_a_ticket_stands() -> None:
    names = Names()
    for ticket in ("4711", "T-1"):
        names.add(SecretKind.TICKET, ticket)
    shown = Redactor(names).text(
        "pid 4711, 4711 pages; cas -i 4711; /cores/4711/2026.12.01.15.09.11/log;"
        " seen in T-1, BAT-1 and T-12, T-1/2026.12.01.15.09.11"
    )
    assert shown == (
        "pid 4711, 4711 pages; cas -i TICKET-1; /cores/TICKET-1/2026.12.01.15.09.11/log;"
        " seen in TICKET-2, BAT-1 and T-12, TICKET-2/2026.12.01.15.09.11"
    )


def test_a_name_that_a_listing_of_text_in_memory_parts_is_found() -> None:
    listing = "ffffffff8944b960:  node=pluto7.be\nffffffff8944b99c:  rlin.example.com; end\n"
    assert "rlin" not in redacted(TELLING + listing)


def test_a_name_that_is_cut_within_its_domain_leaves_nothing_of_it() -> None:
    shown = redacted(TELLING + "at pluto7.berlin.exa… and pluto7.be\n").splitlines()[-1]
    assert shown == "at HOST-1… and HOST-1"
    shown = redacted(TELLING + "pluto7.log of pluto7. Then pluto7.be.\n").splitlines()[-1]
    assert shown == "HOST-1.log of HOST-1. Then HOST-1."


def test_an_initiator_is_no_machine_s_name() -> None:
    assert "iqn" not in {form for forms in names_of(TELLING).originals.values() for form in forms}


def test_addresses_in_memory_are_masked_and_pointers_stay() -> None:
    link = "52 54 00 c3 9e 17"
    socket = "ffff888003c8d000:  08851b0a01080002 ffff88800a000001   ................"
    shown = redacted(f"{TELLING}10.0.0.1\nDATA: {link} 08 06\n{socket}\n")
    assert link not in shown and "DATA: 78 78 78 78 78 78 08 06" in shown
    assert "7878787801080002 ffff88800a000001" in shown
    assert redacted(f"{TELLING}DATA: {link}.\n").splitlines()[-1] == "DATA: ADDRESS-1."


def test_a_uuid_is_known_without_its_dashes() -> None:
    uuid = SECRETS["uuid"]
    shown = redacted(f"{TELLING}\nid {uuid.replace('-', '')}.\n").splitlines()[-1]
    assert shown.startswith("id SERIAL-")


@pytest.mark.parametrize(
    "shown",
    [
        "\x1b[1mplu\x1b[0mto7",
        r"\x1b[01;31mplu\x1b[0mto7",
        r"\033[1mplu\033[0mto7",
        "^[[1mplu^[[mto7",
        "#033[1mplu#033[0mto7",
        "plu\u200bto7",
        "plu\u00adto7",
        "pluu\bto7",
        "plu\n[    3.100001] to7",
        "plu\n<6>[    3.100001][  T812] to7",
    ],
)
def test_a_name_that_a_terminal_shows_whole_is_found(shown: str) -> None:
    line = redacted(f"{TELLING}name {shown} end\n").partition(SECRETS["mail"])[2]
    assert "plu" not in redacted(f"{TELLING}name {shown} end\n") and "to7" not in line


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("db-web7", "DB_WEB7_PORT"),
        ("db-web7", r"mnt-db\x2dweb7.mount"),
        ("db_web7", "srv-db-web7.service"),
        ("müllersrv", "mu\u0308llersrv"),
        ("mu\u0308llersrv", "müllersrv"),
        ("müllersrv.example.com", "xn--mllersrv-65a.example.com"),
        ("xn--mllersrv-65a", "müllersrv"),
    ],
)
def test_a_name_is_known_as_units_variables_and_domains_spell_it(name: str, written: str) -> None:
    names = Names()
    names.add_host(name)
    assert "HOST-1" in Redactor(names).text(f"at {written} now")


def test_a_secret_in_base64_within_base64_or_escaped_in_it_comes_out_nowhere() -> None:
    for said in (b64encode(b"a login of pluto7 now"), rb"a login of pl\x75to7 now"):
        told = b64encode(said).decode()
        assert told not in redacted(f"{TELLING}{told}\n")


def test_a_password_that_is_a_word_of_the_kernel_leaves_the_others_alone() -> None:
    assert redacted("mount -o password=page page 7 of kernel_page\n") == (
        "mount -o password=PASSWORD-1 page 7 of kernel_page\n"
    )


@pytest.mark.parametrize("seed", ["ip=", "ip=[", "docker-"])
def test_hostile_text_takes_the_square_of_its_length_nowhere(seed: str) -> None:
    """By processor time, of which the square would take a hundred times as much."""

    def cost_s(size: int) -> float:
        text, began = seed * (size // len(seed)), process_time()
        redacted(text)
        return process_time() - began

    small = min(cost_s(6_000) for _ in range(3))
    assert cost_s(60_000) < 40 * small + 0.2
