"""docs/settings.md says what the code reads."""

from tests.support.settings_table import PAGE, SECTIONS, page


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == page(), "run `make settings`"


def test_every_setting_says_what_it_means() -> None:
    silent = [
        f"{cls.__name__}.{name}"
        for _, _, cls in SECTIONS
        for name, f in cls.model_fields.items()
        if not f.description
    ]
    assert not silent
