#!/bin/sh
# PostgreSQL's archive_command: puts one finished WAL file into the archive, whole or not at all.
#
#     archive-wal.sh ARCHIVE_FOLDER %p %f
#
# Exit 0 only when the file is in the archive, compressed and on the disk; PostgreSQL tries again after
# anything else, and keeps its own file until then. A different file of that name is never replaced: two
# servers write into one archive then, and someone has to look.
set -eu
umask 027
folder=$1 from=$2 name=$3
target=$folder/$name.gz
temporary=$folder/.$name.part

if [ -e "$target" ]; then
    if gzip -dc "$target" | cmp -s - "$from"; then
        sync "$target" "$folder"
        exit 0
    fi
    echo "archive-wal: $target holds something else than $from. Another server writes into this archive;" \
        "give each its own. Nothing was replaced." >&2
    exit 1
fi
if ! gzip -1c "$from" >"$temporary"; then
    rm -f "$temporary"
    echo "archive-wal: $name cannot be written to $folder; is its disk full?" >&2
    exit 1
fi
sync "$temporary"
mv "$temporary" "$target"
sync "$folder"
