"""placeholder until the branch with set-aside work is merged."""

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    pass
