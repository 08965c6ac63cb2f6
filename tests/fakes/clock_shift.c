/* A wall clock that jumps: LD_PRELOAD of it moves what Python and gRPC see of CLOCK_REALTIME by the seconds
 * in the file $CLOCK_SHIFT_FILE, read anew at each call.
 *
 * gRPC hands absolute times to the kernel, whose clock did not jump: on that way they are moved back. Other
 * libraries see the clock as it is; they would wait for a day, which no jump of a real clock does.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long (*kernel)(long, ...);

__attribute__((constructor)) static void begin(void)
{
    kernel = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
}

static long shift(void *caller)
{
    Dl_info info;
    const char *path = getenv("CLOCK_SHIFT_FILE");
    char text[32];
    if (!path || !dladdr(caller, &info) || !info.dli_fname)
        return 0;
    const char *name = strrchr(info.dli_fname, '/');
    name = name ? name + 1 : info.dli_fname;
    if (strncmp(name, "python", 6) && strncmp(name, "libpython", 9) && strncmp(name, "_datetime", 9) &&
        strncmp(name, "cygrpc", 6))
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
    if (!kernel)
        begin();
    int result = (int)kernel(SYS_clock_gettime, clock, now);
    if (!result && clock == CLOCK_REALTIME)
        now->tv_sec += shift(__builtin_return_address(0));
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    if (!kernel)
        begin();
    int result = (int)kernel(SYS_gettimeofday, now, zone);
    if (!result && now)
        now->tv_sec += shift(__builtin_return_address(0));
    return result;
}

long syscall(long number, ...)
{
    long a[6];
    struct timespec moved;
    va_list rest;
    va_start(rest, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(rest, long);
    va_end(rest);
    if (!kernel)
        begin();
    if (number == SYS_futex && (a[1] & FUTEX_CLOCK_REALTIME) && a[3]) {
        moved = *(struct timespec *)a[3];
        moved.tv_sec -= shift(__builtin_return_address(0));
        a[3] = (long)&moved;
    }
    return kernel(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
