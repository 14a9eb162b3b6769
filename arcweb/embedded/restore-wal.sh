#!/bin/sh
# PostgreSQL's restore_command: brings one WAL file back from the archive.
#
#     restore-wal.sh ARCHIVE_FOLDER %f %p [PG_WAL]
#
# PG_WAL: the pg_wal of a stopped cluster, for what it had not archived yet. Exit 1: there is no such file,
# which is how a recovery learns where the log ends.
set -eu
folder=$1 name=$2 to=$3 left=${4:-}

if [ -e "$folder/$name.gz" ]; then
    gzip -dc "$folder/$name.gz" >"$to"
elif [ -e "$folder/$name" ]; then
    cp "$folder/$name" "$to"
elif [ -n "$left" ] && [ -e "$left/$name" ]; then
    cp "$left/$name" "$to"
else
    exit 1
fi
