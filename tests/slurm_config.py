"""What a private two-node Slurm is told: its configuration files and the command lines of its daemons. No I/O.

Two slurmd on one host, four fake GPUs each, accounting in slurmdbd, preemption by partition, and every wait that
Slurm allows to shorten shortened. The options are those of slurm.conf(5), gres.conf(5) and slurmdbd.conf(5).
"""

from pathlib import Path

import msgspec

NODES = ("n1", "n2")
CPUS_PER_NODE = 8
GPUS_PER_NODE = 4

SLURMDS = tuple(f"slurmd-{node}" for node in NODES)
# In the order in which they start.
DAEMONS = ("munged", "mariadbd", "slurmdbd", "slurmctld", *SLURMDS)

# AccountingStoragePass names the munge socket for slurmdbd: AuthInfo does not reach that connection.
# config_overrides lets a node claim more CPUs and memory than the host has. No plugin here uses control groups, but
# slurmd dies of a machine that mounts none, unless cgroup.conf keeps it from looking.
SLURM_CONF = """\
ClusterName=detrun
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports.slurmctld}
SlurmUser={user}
SlurmdUser={user}
AuthInfo=socket={folder}/munge.sock,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/state/slurmctld.pid
SlurmdPidFile={folder}/state/slurmd-%n.pid
MailProg=/bin/true
MpiDefault=none

ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={ports.slurmdbd}
AccountingStoragePass={folder}/munge.sock
AccountingStorageTRES=gres/gpu

SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,batch_sched_delay=0,bf_interval=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
KillWait=10
MinJobAge=300
SlurmdTimeout=20
ReturnToService=2
SlurmdParameters=config_overrides

GresTypes=gpu
{nodes}
PartitionName=main Nodes=ALL Default=YES PriorityTier=1 GraceTime=20 PreemptMode=REQUEUE
PartitionName=urgent Nodes=ALL PriorityTier=10
"""

NODE = (
    "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} "
    f"CPUs={CPUS_PER_NODE} RealMemory=64000 Gres=gpu:{GPUS_PER_NODE}"
)

SLURMDBD_CONF = """\
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={ports.slurmdbd}
SlurmUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
PidFile={folder}/state/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser={user}
StorageLoc=slurm_acct_db
"""


class Ports(msgspec.Struct, frozen=True, kw_only=True):
    """The TCP ports of one cluster; `slurmd` has one per node."""

    slurmctld: int
    slurmdbd: int
    slurmd: tuple[int, ...]


def gpu_files(folder: Path, node: str) -> list[Path]:
    """The character devices that stand for a node's GPUs; slurmd refuses GPUs that are only counted."""
    return [folder / "gpu" / f"{node}-{index}" for index in range(GPUS_PER_NODE)]


def config_files(folder: Path, ports: Ports, user: str, host: str) -> dict[str, str]:
    """The configuration of a cluster in `folder`, by the file names that Slurm looks for.

    Args:
        folder: where the cluster keeps sockets, state and logs.
        ports: free TCP ports.
        user: who runs every daemon.
        host: this machine's short name; slurmctld compares it with gethostname(2).
    """
    nodes = [NODE.format(name=name, host=host, port=port) for name, port in zip(NODES, ports.slurmd, strict=True)]
    gpus = [f"NodeName={node} Name=gpu File={','.join(map(str, gpu_files(folder, node)))}" for node in NODES]
    return {
        "slurm.conf": SLURM_CONF.format(folder=folder, ports=ports, user=user, host=host, nodes="\n".join(nodes)),
        "cgroup.conf": "CgroupPlugin=cgroup/v1\n",
        "gres.conf": "\n".join(["AutoDetect=off", *gpus, ""]),
        "slurmdbd.conf": SLURMDBD_CONF.format(folder=folder, ports=ports, user=user),
    }


def command(name: str, folder: Path, user: str) -> list[str]:
    """The command line of one of `DAEMONS`, in the foreground.

    MariaDB gets no TCP port, no accounts, and none of the writes that make its data outlive a power cut.
    """
    program, _, node = name.partition("-")
    arguments = {
        "munged": [
            "--foreground",
            "--force",
            f"--socket={folder}/munge.sock",
            f"--key-file={folder}/etc/munge.key",
            f"--pid-file={folder}/state/munged.pid",
            f"--seed-file={folder}/state/munged.seed",
            f"--log-file={folder}/log/munged.log",
            "--num-threads=10",
        ],
        "mariadbd": [
            "--no-defaults",
            f"--user={user}",
            f"--datadir={folder}/db",
            f"--socket={folder}/db.sock",
            f"--pid-file={folder}/state/mariadbd.pid",
            f"--init-file={folder}/etc/tables.sql",
            "--skip-networking",
            "--skip-grant-tables",
            "--performance-schema=off",
            "--innodb-buffer-pool-size=64M",
            "--innodb-log-file-size=8M",
            "--innodb-lock-wait-timeout=900",
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-flush-method=nosync",
            "--innodb-doublewrite=0",
            "--innodb-fast-shutdown=2",
        ],
        "slurmdbd": ["-D"],
        "slurmctld": ["-D"],
        "slurmd": ["-D", "-N", node],
    }
    return [program, *arguments[program]]
