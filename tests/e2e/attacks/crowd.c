/* Opens COUNT connections to the Unix socket PATH and says nothing on them; writes a line for each that the other side ends,
 * and ends with its standard input. With one connection it hands on what comes, both ways. Run by another user, it is what
 * that user can do to a log (tests/e2e/attacks/places.rs).
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define MOST 1000

static int connected(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        exit(2);
    strcpy(address.sun_path, path);
    int connection = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connection < 0 || connect(connection, (struct sockaddr *)&address, sizeof address)) {
        perror("connecting");
        exit(3);
    }
    return connection;
}

/* Hands on what comes, or drops it; false at its end. */
static int goes_on(int from, int to) {
    char bytes[65536];
    ssize_t length = read(from, bytes, sizeof bytes);
    for (ssize_t at = 0, written; to >= 0 && at < length; at += written)
        if ((written = write(to, bytes + at, length - at)) <= 0)
            return 0;
    return length > 0;
}

int main(int count, char **arguments) {
    int connections = count == 3 ? atoi(arguments[2]) : 0;
    if (connections < 1 || connections > MOST)
        return 2;
    static struct pollfd watched[MOST + 1];
    for (int at = 0; at < connections; at++)
        watched[at] = (struct pollfd){.fd = connected(arguments[1]), .events = POLLIN};
    watched[connections] = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
    int is_bridge = connections == 1;
    while (poll(watched, connections + 1, -1) > 0) {
        if (watched[connections].revents && !goes_on(STDIN_FILENO, is_bridge ? watched[0].fd : -1))
            return 0;
        for (int at = 0; at < connections; at++) {
            if (watched[at].fd < 0 || !watched[at].revents)
                continue;
            if (goes_on(watched[at].fd, is_bridge ? STDOUT_FILENO : -1))
                continue;
            if (is_bridge)
                return 0;
            close(watched[at].fd);
            watched[at].fd = -1;
            puts("ended");
            fflush(stdout);
        }
    }
    return 0;
}
