from hypothesis import given
from hypothesis import strategies as st

from driftserve.archive.contract import Contract
from driftserve.archive.served import digest_of, display_name, encoded_name, encoded_name_of, served_key

DIGEST = "d" * 64


@given(name=st.text(min_size=1, max_size=400), other=st.text(min_size=1, max_size=400))
def test_a_key_is_a_file_name_and_tells_names_apart(name: str, other: str) -> None:
    key = served_key(DIGEST, name)
    assert (digest_of(key), encoded_name_of(key)) == (DIGEST, encoded_name(name))
    assert len(f".{key}.unloaded.{2**22}") <= 255
    assert key.isascii()
    assert not {"/", "*"} & set(key)
    assert (name == other) == (key == served_key(DIGEST, other))


def test_a_model_under_the_archives_own_name_is_shown_as_ever(contract: Contract) -> None:
    assert display_name(contract, DIGEST) == display_name(contract, served_key(DIGEST, "tiny")) == "tiny/7"
    assert display_name(contract, served_key(DIGEST, "night shift/2")) == "tiny/7 as night shift/2"
