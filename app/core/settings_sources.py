"""Where settings come from besides plain variables: files named by ``NAME_FILE``, lists written with commas."""

import os
from pathlib import Path
from typing import Any, Final, override

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

#: Under this name the source hands on what it could not read, so that it is told together with everything else.
FILE_PROBLEMS: Final = "_FILE_PROBLEMS"


class FileSecrets(PydanticBaseSettingsSource):
    """Reads ``NAME_FILE`` variables: the field's value is the file's content without the end of its last line."""

    def __init__(self, settings_cls: type[BaseSettings]) -> None:
        super().__init__(settings_cls)
        self._problems: list[str] = []

    @override
    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        variable = f"{field_name}_FILE"
        path = os.environ.get(variable)
        if not path:
            return None, field_name, False
        if os.environ.get(field_name):
            self._problems.append(f"{variable}: {field_name} is set too; set one of them.")
        try:
            return Path(path).read_text(encoding="utf-8").rstrip("\r\n"), field_name, False
        except OSError as error:
            self._problems.append(f"{variable}: {path} cannot be read ({error.strerror}); mount the file or correct the path.")
        except UnicodeDecodeError:
            self._problems.append(f"{variable}: {path} is not UTF-8 text.")
        return None, field_name, False

    @override
    def __call__(self) -> dict[str, Any]:
        found = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        values = {name: value for name, value in found.items() if value is not None}
        return values | ({FILE_PROBLEMS: self._problems} if self._problems else {})


def split_list(value: str) -> list[str]:
    """Return the parts of a list written with commas."""
    return [part.strip() for part in value.split(",") if part.strip()]


def variable(name: str) -> str | None:
    """Return one setting's value from ``NAME`` or the file that ``NAME_FILE`` names, for who needs no other.

    Raises:
        OSError: if the file cannot be read.
    """
    path = os.environ.get(f"{name}_FILE")
    return os.environ.get(name) or (Path(path).read_text(encoding="utf-8").rstrip("\r\n") if path else None)
