// The scene shader on a processor: g++ -O3 -ffast-math -shared -fPIC scene_cpu.cpp -o libscene.so
#include "scene.cuh"
// One window [h, w] of one frame, as planes red, green, blue, actor [4, h, w].
extern "C" void render(const float* G, const float* C, const float* A, const unsigned char* sprites, float t, int W, int H, int x0, int y0, int w, int h, float* out) {
  for (int y = 0; y < h; y++) for (int x = 0; x < w; x++) {
    float actor; V3 c = shade(G, C, A, (const uchar4*)sprites, t, (float)W, (float)H, x0 + x + .5f, y0 + y + .5f, &actor);
    float* o = out + y * w + x; o[0] = c.x; o[w * h] = c.y; o[2 * w * h] = c.z; o[3 * w * h] = actor; }
}
