"""The words about packets that arrived damaged: with a wrong checksum, so their receiver discarded them."""

from __future__ import annotations

CHECKSUMS = {2: "IP header checksum", 3: "TCP checksum", 4: "UDP checksum in the outer header of the tunnel"}
"""The names of the checksums by their numbers in the column `wrong_checksum`."""
UDP = 4
"""The number of the UDP checksum of a tunnel."""


def arrived_damaged(copies: int, checksum: int) -> str:
    """Return the clause about `copies` packets with a wrong checksum, which follows "it" or "the copies"."""
    was = "a copy" if copies == 1 else f"{copies} copies"
    return f"{was} arrived with a wrong {CHECKSUMS.get(checksum, 'checksum')}"


def find_damage(sender: str, receiver: str, checksum: int) -> str:
    """Return what to do about damaged packets. `sender` and `receiver`: the names of both sides, such as "client"."""
    if checksum == UDP:
        return _TUNNEL.format(sender=sender)
    return _HOST.format(sender=sender, receiver=receiver)


_TUNNEL = (
    "Turn off checksum offload on the tunnel interface of the {sender}'s node: ethtool -K vxlan.calico (or flannel.1) "
    "tx-checksum-ip-generic off; in Calico also with FELIX_FEATUREDETECTOVERRIDE=ChecksumOffloadBroken=true. Linux kernels with "
    "faults in this offload, network cards and hypervisors (ESXi) are known causes: update them, then turn it on again. On the "
    "node that receives the packets, nstat -az UdpInCsumErrors counts them, and the kernel log has UDP: bad checksum."
)
_HOST = (
    "Find out whether these packets are already damaged when they leave the {sender}: capture on the wire, such as at a mirror "
    "port beside the {sender}, because on the {sender} itself its network card has not computed the checksum yet. If they are, "
    "turn off checksum offload there (ethtool -K eth0 tx off) and update the driver of the network card. If not, a device on the "
    "path changes packets without updating the checksum (NAT, firewall, proxy, tunnel), or damages them (memory, cable): capture "
    "on both sides of each. On the {receiver}, nstat -az TcpInCsumErrors counts such packets."
)
