/* Fails the k-th write or sync of a process below one folder; for LD_PRELOAD.

   FAULT_UNDER: the folder. FAULT_CALL: "write" or "sync". FAULT_AT: k, from 1.
   FAULT_ERRNO: the error. FAULT_STAYS: "1" when every later call fails, too.
   FAULT_MARK: a file that is made when a call was failed. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static atomic_int calls;

static int below_folder(int descriptor)
{
    char link[64], path[4096];
    const char *folder = getenv("FAULT_UNDER");
    if (folder == NULL)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return strncmp(path, folder, strlen(folder)) == 0;
}

static int fails(const char *call, int descriptor)
{
    const char *wanted = getenv("FAULT_CALL"), *at = getenv("FAULT_AT");
    const char *number = getenv("FAULT_ERRNO"), *stays = getenv("FAULT_STAYS");
    if (!wanted || !at || !number || strcmp(wanted, call) != 0 || !below_folder(descriptor))
        return 0;
    int now = atomic_fetch_add(&calls, 1) + 1, first = atoi(at);
    if (now != first && !(now > first && stays && stays[0] == '1'))
        return 0;
    int mark = open(getenv("FAULT_MARK"), O_WRONLY | O_CREAT, 0644);
    if (mark >= 0)
        close(mark);
    errno = atoi(number);
    return 1;
}

ssize_t write(int descriptor, const void *data, size_t size)
{
    static ssize_t (*real)(int, const void *, size_t);
    if (!real)
        real = dlsym(RTLD_NEXT, "write");
    return fails("write", descriptor) ? -1 : real(descriptor, data, size);
}

ssize_t pwrite(int descriptor, const void *data, size_t size, off_t offset)
{
    static ssize_t (*real)(int, const void *, size_t, off_t);
    if (!real)
        real = dlsym(RTLD_NEXT, "pwrite");
    return fails("write", descriptor) ? -1 : real(descriptor, data, size, offset);
}

ssize_t pwrite64(int descriptor, const void *data, size_t size, off64_t offset)
{
    static ssize_t (*real)(int, const void *, size_t, off64_t);
    if (!real)
        real = dlsym(RTLD_NEXT, "pwrite64");
    return fails("write", descriptor) ? -1 : real(descriptor, data, size, offset);
}

int fsync(int descriptor)
{
    static int (*real)(int);
    if (!real)
        real = dlsym(RTLD_NEXT, "fsync");
    return fails("sync", descriptor) ? -1 : real(descriptor);
}

int fdatasync(int descriptor)
{
    static int (*real)(int);
    if (!real)
        real = dlsym(RTLD_NEXT, "fdatasync");
    return fails("sync", descriptor) ? -1 : real(descriptor);
}
