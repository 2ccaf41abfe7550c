/*
 * recordlock.h - a file that one process holds for as long as it lives.
 *
 * A POSIX record lock belongs to a process, and the kernel says to which: a
 * pid that was written down and then given to another process is never
 * mistaken for the holder.
 */
#ifndef RECORDLOCK_H
#define RECORDLOCK_H

#include <sys/types.h>

#include <stdbool.h>
#include <stdint.h>

/*
 * For this process, until it ends or closes any descriptor of the file.  fd
 * must be open for writing.  0, or -1 with errno: EAGAIN, another has it.
 */
int recordlock_take(int fd);

/*
 * Who has it: 1, 0 for nobody, -1 with errno when it cannot be known.  *pid is
 * 0 in another pid namespace.
 */
int recordlock_holder(int fd, pid_t *pid);

/*
 * Ends the holder: TERM, KILL after kill_ms, until it has the lock no more;
 * by then another may.  0, also when nobody had; -1 with errno: EPERM,
 * ETIMEDOUT.  *pid is who it was, or 0.
 */
int recordlock_stop(int fd, int64_t kill_ms, pid_t *pid);

#endif
