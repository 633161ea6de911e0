"""Whether the CPU can virtualise at all."""

from lab.kvm import cpu_has_virtualisation


def test_intel_and_amd_flags_count() -> None:
    assert cpu_has_virtualisation("processor: 0\nflags\t\t: fpu vmx sse\n")
    assert cpu_has_virtualisation("flags : svm\n")


def test_other_flags_do_not_even_when_they_contain_the_letters() -> None:
    assert not cpu_has_virtualisation("flags : fpu svm_lock vmx_ish\nvmx flags : vnmi\n")
    assert not cpu_has_virtualisation("")
