/* Runs a fuzz target over every file of a folder: the corpus stays a regression test
 * in builds without libFuzzer. Usage: replay_NAME CORPUS_DIR */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static int replay_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    uint8_t *bytes;
    long size;

    if (!f) {
        perror(path);
        return 1;
    }
    fseek(f, 0, SEEK_END);
    size = ftell(f);
    rewind(f);
    bytes = malloc(size > 0 ? (size_t)size : 1); /* exact size: ASan sees an overread */
    if (!bytes || fread(bytes, 1, (size_t)size, f) != (size_t)size) {
        perror(path);
        free(bytes);
        fclose(f);
        return 1;
    }
    fclose(f);
    LLVMFuzzerTestOneInput(bytes, (size_t)size);
    free(bytes);
    return 0;
}

int main(int argc, char **argv)
{
    int files = 0, failed = 0;
    DIR *dir = argc == 2 ? opendir(argv[1]) : NULL;

    if (!dir) {
        fprintf(stderr, "usage: %s CORPUS_DIR (a readable folder)\n", argv[0]);
        return 2;
    }
    for (struct dirent *e; (e = readdir(dir));) {
        char path[4096];

        if (e->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "%s/%s", argv[1], e->d_name);
        failed += replay_file(path);
        files++;
    }
    closedir(dir);
    printf("%d inputs replayed\n", files);
    return failed || !files; /* an empty corpus tests nothing */
}
