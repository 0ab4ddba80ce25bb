from tidegate.capture.apply import saved_table, transaction
from tidegate.rules.model import Table
from tidegate.rules.text import parse_rule, parse_save


def table(*lines: str, chains: tuple[str, ...] = ()) -> Table:
    return Table("nat", chains, tuple(map(parse_rule, lines)))


def test_old_goes_and_new_comes_in_one_transaction() -> None:
    actual = table(
        "-A OUTPUT -p udp -j MINE",
        "-A OUTPUT -j ISTIO_OUTPUT",
        "-A PREROUTING -i eth7 -j RETURN",
        "-A PREROUTING -i eth7 -j RETURN",
        "-A ISTIO_OUTPUT -j RETURN",
        chains=("MINE", "ISTIO_OUTPUT"),
    )
    wanted = table("-A OUTPUT -p tcp -j ISTIO_OUTPUT", chains=("ISTIO_OUTPUT",))
    known = table("-A PREROUTING -i eth7 -j RETURN")
    assert transaction(wanted, known, actual).splitlines() == [
        "* nat",
        "-D OUTPUT -j ISTIO_OUTPUT",
        "-D PREROUTING -i eth7 -j RETURN",
        "-F ISTIO_OUTPUT",
        "-X ISTIO_OUTPUT",
        "-N ISTIO_OUTPUT",
        "-A OUTPUT -p tcp -j ISTIO_OUTPUT",
        "COMMIT",
    ]


def test_nothing_of_ours_and_nothing_wanted_is_no_transaction() -> None:
    assert transaction(Table("nat"), Table("nat"), table("-A OUTPUT -p udp -j MINE", chains=("MINE",))) == ""


def test_saved_table_is_cut_out_with_its_counters() -> None:
    saved = "# x\n*raw\n:OUTPUT ACCEPT [1:2]\nCOMMIT\n*nat\n:OUTPUT ACCEPT [3:4]\n[5:6] -A OUTPUT -j RETURN\nCOMMIT\n"
    assert saved_table(saved, "nat") == "*nat\n:OUTPUT ACCEPT [3:4]\n[5:6] -A OUTPUT -j RETURN\nCOMMIT\n"
    assert parse_save(saved_table(saved, "mangle")).table("mangle").rules == ()
