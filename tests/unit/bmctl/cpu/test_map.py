import xml.etree.ElementTree as ET

from bmctl.commands.cpu.floor import floor_of
from bmctl.commands.cpu.svg import picture
from bmctl.commands.cpu.terminal import lines
from bmctl.objects import Object


def an_answer(cores_per_numa: int = 8) -> Object:
    """Two sockets of two NUMA nodes each; core 0 is reserved, db has four CPUs, <web> two."""
    cpus = []
    total = cores_per_numa * 4
    for cpu in range(total * 2):
        core = cpu % total
        place = {"cpu": cpu, "core": core, "numaNode": core // cores_per_numa, "socket": core // (cores_per_numa * 2)}
        if core == 0:
            use: Object = {"use": "reserved"}
        elif core in (1, 2):
            use = {"use": "exclusive", "holder": "default/db"}
        elif core == total - 1:
            use = {"use": "exclusive", "holder": "default/<web>"}
        else:
            use = {"use": "shared", "others": ["default/api", "default/db"]}
        cpus.append({key: value for key, value in (place | use).items() if value != 0})
    return {
        "node": "default/n1",
        "mode": "mixed",
        "cpus": cpus,
        "sharePool": f"3-{total - 2},{total + 3}-{total * 2 - 2}",
        "reserved": f"0,{total}",
        "exclusiveRoom": 12,
        "sharedRoom": 40,
        "memoryRoomBytes": str(3 << 30),
    }


def test_a_terminal_shows_every_cpu_once_with_its_holders_letter() -> None:
    text = [line.plain for line in lines(floor_of(an_answer()), 100)]
    cells = [word.strip("[]") for line in text if "[" in line for word in line.split("[", 1)[1].split()]
    assert len(cells) >= 64
    assert any("A default/db  CPU 1-2,33-34 (lifted" in line for line in text)
    assert any("B default/<web>  CPU 31,63" in line for line in text)
    assert text[-1] == "room for 12 exclusive or 40 shared CPUs, 3 GiB of memory"
    assert max(map(len, text)) <= 100


def test_lines_of_cores_are_broken_at_the_width_of_the_terminal() -> None:
    assert len(list(lines(floor_of(an_answer()), 50))) > len(list(lines(floor_of(an_answer()), 150)))


def test_the_picture_is_one_xml_file_that_names_every_cpu_and_loads_nothing() -> None:
    drawn = picture(floor_of(an_answer()))
    tree = ET.fromstring(drawn)  # noqa: S314  (our own output)
    titles = [one.text or "" for one in tree.iter("{http://www.w3.org/2000/svg}title")]
    assert titles[0] == "CPUs of default/n1"
    assert sorted(int(title.split()[1].rstrip(",")) for title in titles[1:]) == list(range(64))
    assert "href" not in drawn
    assert "default/&lt;web&gt;" in drawn


def test_more_holders_than_letters_are_still_told_apart_in_the_legend() -> None:
    cpus = [{"cpu": at, "core": at, "use": "exclusive", "holder": f"default/i{at:02}"} for at in range(60)]
    text = [line.plain for line in lines(floor_of({"node": "n", "cpus": cpus}), 80)]
    assert sum("  CPU " in line for line in text) == 62
