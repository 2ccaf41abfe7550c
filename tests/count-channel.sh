#!/bin/sh
# count-channel.sh LOG COMMAND [ARG...] - notes that a channel was used.
log=$1
shift
echo "$*" >>"$log"
exec "$@"
