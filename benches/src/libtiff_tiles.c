/* Decodes every tile of the first directory of a TIFF file with libtiff, and prints the milliseconds a tile took. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <tiffio.h>

static double milliseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

int main(int count, char **words) {
    TIFF *file = count == 2 ? TIFFOpen(words[1], "r") : NULL;
    if (!file || !TIFFIsTiled(file)) {
        fprintf(stderr, "a tiled TIFF file is wanted\n");
        return 1;
    }
    uint16_t compression = 0;
    TIFFGetField(file, TIFFTAG_COMPRESSION, &compression);
    if (compression == COMPRESSION_JPEG)
        TIFFSetField(file, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
    tmsize_t size = TIFFTileSize(file);
    void *pixels = malloc(size);
    ttile_t tiles = TIFFNumberOfTiles(file);
    double begin = milliseconds();
    for (ttile_t tile = 0; tile < tiles; tile++)
        if (TIFFReadEncodedTile(file, tile, pixels, size) < 0)
            return 1;
    printf("%.6f\n", (milliseconds() - begin) / tiles);
    free(pixels);
    TIFFClose(file);
    return 0;
}
