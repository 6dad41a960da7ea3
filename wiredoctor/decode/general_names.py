"""Which step of the general decoder reads which encapsulation."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from wiredoctor.decode.names import BIT

if TYPE_CHECKING:
    from wiredoctor.decode.packet import Step


@cache
def step_bits() -> dict[Step, int]:
    """Step -> bit of its encapsulation."""
    from wiredoctor.decode import general_ethernet as ethernet
    from wiredoctor.decode import general_gre as gre
    from wiredoctor.decode import general_network as network
    from wiredoctor.decode import general_tags as tags
    from wiredoctor.decode import general_udp as udp

    named: dict[str, tuple[Step, ...]] = {
        "PPPoE": (ethernet.pppoe,), "PPP": (ethernet.ppp,), "MPLS": (ethernet.mpls, network.mpls_in_ip),
        "802.1ah": (ethernet.backbone,), "802.1BR": (ethernet.e_tag,), "FabricPath": (ethernet.fabric_path,),
        "VN-tag": (tags.vn_tag,), "TRILL": (tags.trill,), "HSR": (tags.hsr,), "NSH": (tags.service_header,),
        "MACsec": (tags.macsec,), "IP in IP": (network.ipv4_in_ip, network.ipv6_in_ip), "AH": (network.authentication,),
        "GRE": (network.gre_in_ip, gre.gre), "ERSPAN": (gre.erspan1, gre.erspan2, gre.erspan3),
        "Ethernet in IP": (network.ether_ip, network.frame_in_ip), "VXLAN": (udp.vxlan, udp.vxlan_gpe, udp.linux_vxlan),
        "GENEVE": (udp.geneve,), "GTP-U": (udp.gtp,), "Teredo": (udp.teredo,), "L2TP": (udp.l2tp,), "LISP": (udp.lisp,),
        "TZSP": (udp.tzsp,), "CAPWAP": (udp.capwap,), "AYIYA": (udp.ayiya,),
    }  # fmt: skip
    return {step: BIT[name] for name, steps in named.items() for step in steps}
