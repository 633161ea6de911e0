"""One emulated bare-metal server: its mainboard (QEMU), its BMC (Redfish, console) and its PCIe link.

    __main__ -> application -> redfish, pcie, serial -> host, bus -> monitor, process -> record, slots, config

The host's QEMU outlives this process; a restarted chassis finds it and goes on.
"""
