"""Predicts one large image on workers that SLURM starts, by dask-jobqueue.

    pip install 'shallow2deep[dask]' dask-jobqueue
    python pipelines/slurm_predict.py RUN RAW OUT.zarr --jobs 8 --cores 8 --memory 32GB --queue normal

Run it where jobs may be submitted, such as a login node or a small job. Killed, the same command goes on.
"""

import argparse
from pathlib import Path
from typing import Any

from shallow2deep import predict


def cluster_of(arguments: argparse.Namespace) -> Any:
    """Workers of SLURM: one process for each job, with a thread for each core."""
    from dask_jobqueue import SLURMCluster

    cluster = SLURMCluster(
        queue=arguments.queue,
        cores=arguments.cores,
        processes=1,
        memory=arguments.memory,
        walltime=arguments.time,
        local_directory=str(Path(arguments.out).absolute().parent),
    )
    cluster.scale(jobs=arguments.jobs)
    return cluster


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", help="run of adapt or train, or a folder with a segmentor or source net")
    parser.add_argument("raw", help="file.h5:key, file.zarr:key, file.tif; seen by all nodes")
    parser.add_argument("out", help="NAME.zarr; seen by all nodes")
    parser.add_argument("--step", default="recommended")
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--cores", type=int, default=8, help="of each job")
    parser.add_argument("--memory", default="32GB", help="of each job")
    parser.add_argument("--time", default="04:00:00", help="of each job")
    parser.add_argument("--queue", default=None)
    arguments = parser.parse_args()
    with cluster_of(arguments) as cluster:
        address = cluster.scheduler_address
        for path in predict(arguments.model, arguments.raw, arguments.out, arguments.step, cluster=address):
            print(path)


if __name__ == "__main__":
    main()
