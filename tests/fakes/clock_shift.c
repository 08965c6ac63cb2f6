/* A wall clock that jumps: LD_PRELOAD of it moves what Python's own code sees of CLOCK_REALTIME by the
 * seconds in the file $CLOCK_SHIFT_FILE, read anew at each call.
 *
 * Only calls that come from the program itself are moved. Libraries that wait for an absolute time hand it
 * to the kernel, whose clock did not jump: they would wait for a day, which no jump of a real clock does.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#include <sys/syscall.h>

static long shift(void *caller)
{
    Dl_info info;
    const char *path = getenv("CLOCK_SHIFT_FILE");
    char text[32];
    if (!path || !dladdr(caller, &info) || !info.dli_fname)
        return 0;
    const char *name = strrchr(info.dli_fname, '/');
    name = name ? name + 1 : info.dli_fname;
    if (strncmp(name, "python", 6) && strncmp(name, "libpython", 9) && strncmp(name, "_datetime", 9))
        return 0;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return 0;
    ssize_t size = read(file, text, sizeof text - 1);
    close(file);
    if (size <= 0)
        return 0;
    text[size] = 0;
    return atol(text);
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    if (!result && clock == CLOCK_REALTIME)
        now->tv_sec += shift(__builtin_return_address(0));
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    int result = (int)syscall(SYS_gettimeofday, now, zone);
    if (!result && now)
        now->tv_sec += shift(__builtin_return_address(0));
    return result;
}
