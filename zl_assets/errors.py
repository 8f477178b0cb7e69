"""The one error tree of the project.

ZlError                     exit code
├── CheckFailed                 1      a blocking asset check failed
├── InputError                  2      what the user or the vendor handed over is unusable
│   ├── VendorFileError             a vendor file cannot be read or holds no usable bar
│   ├── RegimeError                 a date lies outside every regime
│   ├── NotEnoughHistory            too few sessions to train a horizon
│   └── QueryRefused                `zl query` got something other than one SELECT
├── ConfigurationError          2      the set-up of this machine is unusable
│   ├── MissingCredential           a key is needed and not there
│   ├── MissingSetting              a setting is needed and not there
│   ├── MissingDependency           an optional package is needed and not installed
│   ├── CostLimitExceeded           a download or a query would cost more than the limit
│   └── WarehouseError              the store cannot be used
│       ├── WarehouseLocked             another process holds it
│       ├── NotAWarehouse               the file is not a DuckDB database
│       ├── StorageFull                 the disk is full
│       ├── AccessDenied                the account may not do this
│       ├── TableDiffers                a stored table is not what sql/tables says
│       └── ContractBroken              a frame does not fit the table's contract
├── ServiceError                3      an outside service failed
└── Interrupted               130      Ctrl-C, or a request to end

Every error says what happened, where, and what to do next.
"""

import errno


class ZlError(Exception):
    """Base of every error a user may see.

    Args:
        what: what happened, one clause, no full stop.
        where: the file, table, row or address it happened at.
        action: what the reader can do about it.
    """

    exit_code = 2

    def __init__(self, what: str, *, where: str = "", action: str = "") -> None:
        self.what = what
        self.where = where
        self.action = action
        place = f" [{where}]" if where else ""
        advice = f" -> {action}" if action else ""
        super().__init__(f"{what}{place}{advice}")


class CheckFailed(ZlError):
    """A blocking asset check failed: what was stored stays, nothing downstream was built."""

    exit_code = 1


class InputError(ZlError):
    """Input that cannot be used."""


class VendorFileError(InputError):
    """A vendor file cannot be read, or holds no usable bar."""


class RegimeError(InputError):
    """A date lies outside every regime: the row has no regime, and none is made up."""


class NotEnoughHistory(InputError):
    """Too few labelled sessions to train and evaluate a horizon."""


class QueryRefused(InputError):
    """Anything but one read-only SELECT."""


class ConfigurationError(ZlError):
    """The set-up of this machine is unusable."""


class MissingCredential(ConfigurationError):
    """A credential is needed at this point and is not configured."""


class MissingSetting(ConfigurationError):
    """A setting is needed at this point and is not given."""


class MissingDependency(ConfigurationError):
    """An optional package is needed at this point and is not installed."""


class CostLimitExceeded(ConfigurationError):
    """A paid request would cost more than the configured limit."""


class WarehouseError(ConfigurationError):
    """The warehouse cannot be used."""


class WarehouseLocked(WarehouseError):
    """Another process holds the warehouse for longer than the configured wait."""


class NotAWarehouse(WarehouseError):
    """The warehouse file exists and is not a DuckDB database."""


class StorageFull(WarehouseError):
    """No space left for the warehouse or an artifact."""

    NUMBERS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
    """What the system calls it: no space, over quota, over the largest file allowed."""


class AccessDenied(WarehouseError):
    """The account lacks a permission."""


class TableDiffers(WarehouseError):
    """A stored table differs from its CREATE TABLE statement in a way that is not mended without being asked."""


class ContractBroken(WarehouseError):
    """A frame does not fit the contract of its table."""


class Interrupted(ZlError):
    """Somebody asked the command to end; the exit code is the one shells know."""

    exit_code = 130


class ServiceError(ZlError):
    """An outside service failed, after the retries."""

    exit_code = 3
