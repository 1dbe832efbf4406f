// Toybox scene shader: one header for CUDA and plain C++ (CPU previews).
// A pixel colour is a pure function of (globals G, camera C of the frame, actors A of the frame, time, pixel).
// World units: y 0 = top, 1 = bottom of the resting frame, x = 0 at the centre, same scale as y.
#pragma once
#ifdef __CUDACC__
#define HD __device__ __forceinline__
#else
#include <cmath>
#include <cstdint>
#define HD static inline
struct uchar4 { unsigned char x, y, z, w; };
#endif
#define NG 24      // globals per clip
#define NC 4       // camera floats per frame
#define NA 4       // actor slots
#define NAF 10     // floats per actor and frame
#define SPR 128
// globals
#define G_BG 0
#define G_TOD 1    // 0 sunrise 1 day 2 sunset 3 night
#define G_WX 2     // 0 clear 1 cloudy 2 rain 3 snow 4 fog
#define G_SEED 3
#define G_HOR 4
#define G_STYLE 5  // 0 none 1 bw 2 sepia 3 warm 4 neon 5 pixel
#define G_R 6
#define G_GG 7
#define G_B 8
#define G_NACT 9
#define G_WIND 10

struct V3 { float x, y, z; };
HD V3 v3(float x, float y, float z) { V3 r; r.x = x; r.y = y; r.z = z; return r; }
HD V3 operator+(V3 a, V3 b) { return v3(a.x + b.x, a.y + b.y, a.z + b.z); }
HD V3 operator-(V3 a, V3 b) { return v3(a.x - b.x, a.y - b.y, a.z - b.z); }
HD V3 operator*(V3 a, float b) { return v3(a.x * b, a.y * b, a.z * b); }
HD V3 operator*(V3 a, V3 b) { return v3(a.x * b.x, a.y * b.y, a.z * b.z); }
HD V3 mix3(V3 a, V3 b, float t) { return a + (b - a) * t; }
HD float mixf(float a, float b, float t) { return a + (b - a) * t; }
HD float clampf(float x, float a, float b) { return x < a ? a : (x > b ? b : x); }
HD float sat(float x) { return clampf(x, 0.f, 1.f); }
HD float sstep(float a, float b, float x) { float t = sat((x - a) / (b - a)); return t * t * (3.f - 2.f * t); }
HD float fractf(float x) { return x - floorf(x); }
HD float lum(V3 c) { return 0.3f * c.x + 0.59f * c.y + 0.11f * c.z; }
HD unsigned uh(unsigned x) { x ^= x >> 16; x *= 0x7feb352dU; x ^= x >> 15; x *= 0x846ca68bU; x ^= x >> 16; return x; }
HD float h2(int x, int y, int s) { return (uh((unsigned)x * 1973u + (unsigned)y * 9277u + (unsigned)s * 26699u + 11u) >> 8) * (1.f / 16777216.f); }
HD float h1(int x, int s) { return h2(x, 77, s); }
HD float noise2(float x, float y, int s) {
  float fx = floorf(x), fy = floorf(y); int ix = (int)fx, iy = (int)fy; float u = x - fx, v = y - fy;
  u = u * u * (3.f - 2.f * u); v = v * v * (3.f - 2.f * v);
  return mixf(mixf(h2(ix, iy, s), h2(ix + 1, iy, s), u), mixf(h2(ix, iy + 1, s), h2(ix + 1, iy + 1, s), u), v);
}
HD float noise1(float x, int s) { float fx = floorf(x); int ix = (int)fx; float u = x - fx; u = u * u * (3.f - 2.f * u); return mixf(h1(ix, s), h1(ix + 1, s), u); }
HD float fbm(float x, float y, int s, int oct) { float a = 0.5f, r = 0.f; for (int i = 0; i < oct; i++) { r += a * noise2(x, y, s + i); x = x * 2.03f + 1.7f; y = y * 2.03f + 9.2f; a *= 0.5f; } return r; }
// anti-aliased step: 1 where y is below (greater than) the edge
HD float under(float y, float edge, float px) { return sat((y - edge) / px + 0.5f); }
HD float disc(float dx, float dy, float r, float px) { return sat((r - sqrtf(dx * dx + dy * dy)) / px + 0.5f); }
HD float box(float dx, float dy, float hx, float hy, float px) { float a = sat((hx - fabsf(dx)) / px + 0.5f), b = sat((hy - fabsf(dy)) / px + 0.5f); return a * b; }
HD float hills(float x, int s, float f) { return 0.55f * sinf(x * f + h1(s, 1) * 6.28f) + 0.3f * sinf(x * f * 2.3f + h1(s, 2) * 6.28f) + 0.15f * sinf(x * f * 4.9f + h1(s, 3) * 6.28f); }

struct Env { int bg, tod, wx, seed; float hor, t, px, camx, wind, asp; V3 col; };

HD V3 light(int tod, int wx) {
  V3 l = tod == 0 ? v3(1.04f, .90f, .86f) : tod == 1 ? v3(1, 1, 1) : tod == 2 ? v3(1.05f, .76f, .62f) : v3(.34f, .42f, .70f);
  if (wx >= 1 && tod != 3) l = l * (wx == 1 ? .95f : .86f);
  return l;
}
HD V3 skycol(int tod, int wx, float k) { // k 0 zenith .. 1 horizon
  V3 a, b;
  if (tod == 0) { a = v3(.42f, .62f, .92f); b = v3(1.f, .80f, .66f); }
  else if (tod == 1) { a = v3(.16f, .50f, .93f); b = v3(.68f, .87f, 1.f); }
  else if (tod == 2) { a = v3(.36f, .22f, .55f); b = v3(1.f, .52f, .22f); }
  else { a = v3(.02f, .03f, .13f); b = v3(.10f, .15f, .34f); }
  V3 c = mix3(a, b, k * k * (3 - 2 * k));
  if (wx) { float g = lum(c); float m = wx == 1 ? .35f : .75f; c = mix3(c, v3(g * .95f + .02f, g * .98f + .03f, g + .06f), m); if (wx >= 2) c = c * .92f; }
  return c;
}
HD float starfield(float x, float y, float t, int s, float dens) {
  float r = 0;
  for (int k = 0; k < 2; k++) {
    float sc = k ? 26.f : 14.f; float gx = x * sc, gy = y * sc; int ix = (int)floorf(gx), iy = (int)floorf(gy);
    float h = h2(ix, iy, s + k * 7); if (h > dens) continue;
    float ox = .25f + .5f * h2(ix, iy, s + 20 + k), oy = .25f + .5f * h2(ix, iy, s + 40 + k);
    float dx = gx - ix - ox, dy = gy - iy - oy; float rad = (k ? .10f : .08f) + .06f * h2(ix, iy, s + 60);
    float tw = .65f + .35f * sinf(t * (2.f + 4.f * h2(ix, iy, s + 80)) + 40.f * h);
    r += tw * sat(1.6f - sqrtf(dx * dx + dy * dy) / rad);
  }
  return sat(r);
}
HD V3 sky(const Env& e, float x, float y, float hor) {
  float k = sat(y / hor); V3 c = skycol(e.tod, e.wx, k);
  float px = e.px; float sx = (h1(e.seed, 5) - .5f) * e.asp * .7f;
  float bx = x - e.camx * .9f; // celestial things nearly follow the camera
  if (e.tod == 3) {
    if (e.wx == 0 || e.wx == 3) { float st = starfield(bx, y, e.t, e.seed + 3, .20f) * sat(1.2f - k); c = c + v3(.9f, .93f, 1.f) * st; }
    if (e.wx < 2) { float mx = bx - sx, my = y - (.12f + .12f * h1(e.seed, 6)); float m = disc(mx, my, .05f, px); float cut = disc(mx - .022f, my + .012f, .043f, px);
      float full = h1(e.seed, 9) < .5f ? 0.f : 1.f; float a = m * (full > 0 ? 1.f : 1.f - cut); float g = expf(-sqrtf(mx * mx + my * my) * 9.f); c = c + v3(.35f, .38f, .5f) * g * .5f; c = mix3(c, v3(.98f, .96f, .86f), a); }
  } else if (e.wx < 2) {
    float sy = e.tod == 1 ? .10f + .10f * h1(e.seed, 6) : hor - .07f - .05f * h1(e.seed, 6);
    float dx = bx - sx, dy = y - sy; float d = sqrtf(dx * dx + dy * dy); float R = e.tod == 1 ? .05f : .085f;
    V3 sc = e.tod == 1 ? v3(1.f, .97f, .78f) : e.tod == 0 ? v3(1.f, .90f, .60f) : v3(1.f, .66f, .25f);
    c = mix3(c, sc, .55f * expf(-d * 5.f)); c = mix3(c, sc * 1.05f, disc(dx, dy, R, px * 1.5f));
  }
  // clouds
  float cover = e.wx == 0 ? .50f : e.wx == 1 ? .36f : .27f;
  float cx = (x - e.camx * .6f) + e.t * (.035f + .05f * e.wind), cy = y * 2.4f;
  float n = fbm(cx * 2.3f, cy * 2.2f, e.seed + 11, 4) / .9375f;
  float a = sstep(cover + .06f, cover + .24f, n) * sat(1.25f - k * .95f) * (e.wx == 0 ? .85f : .95f);
  float sh = sstep(-.12f, .18f, n - fbm(cx * 2.3f, cy * 2.2f - .28f, e.seed + 11, 3) / .9375f);
  V3 cl = e.tod == 0 ? v3(1.f, .90f, .88f) : e.tod == 1 ? v3(1, 1, 1) : e.tod == 2 ? v3(1.f, .72f, .58f) : v3(.22f, .26f, .42f);
  if (e.wx >= 2) cl = cl * .80f;
  c = mix3(c, cl * mixf(.82f, 1.0f, 1.f - sh), a);
  return c;
}
HD float pine(float x, float y, float s, float h) { // coverage of pines along x with base at y=0 (y up), returns 1 inside
  float c = floorf(x); float r = 0;
  for (int k = -1; k <= 1; k++) { int i = (int)c + k; float cx = i + .5f + (h1(i, (int)s) - .5f) * .5f; float hh = h * (.6f + .4f * h1(i, (int)s + 5)); float d = fabsf(x - cx); float f = y / hh; if (f > 1.f || f < 0.f) continue;
    float lay = fractf(f * 3.2f); float w = .42f * (1.f - f) * (1.15f - .35f * lay); if (f < .1f) w = .07f; if (d < w) r = 1; }
  return r;
}
HD V3 tree_blobs(V3 c, float x, float y, float base, float sc, int s, V3 leaf, V3 trunk, float px, float dens) {
  // rounded toy trees on a base line; sc = spacing
  float g = x / sc; int c0 = (int)floorf(g);
  for (int k = -1; k <= 1; k++) {
    int i = c0 + k; if (h1(i, s) > dens) continue;
    float cx = (i + .3f + .4f * h1(i, s + 1)) * sc; float hh = sc * (.55f + .35f * h1(i, s + 2)); float dx = x - cx, dy = y - base;
    float tr = box(dx, dy + hh * .3f, sc * .035f, hh * .32f, px); c = mix3(c, trunk, tr);
    float R = sc * (.20f + .08f * h1(i, s + 3)); float by = dy + hh * .75f;
    float a = disc(dx, by, R, px); float b1 = disc(dx + R * .7f, by + R * -.35f + R * .55f, R * .72f, px), b2 = disc(dx - R * .7f, by + R * .25f, R * .72f, px);
    float m = a > b1 ? a : b1; m = m > b2 ? m : b2; float shd = sat(.75f - .35f * (by / R) - .2f * dx / R);
    c = mix3(c, leaf * mixf(.66f, 1.22f, shd), m);
  }
  return c;
}
HD float ridge(float x, int s, float f) { float r = 0, a = .5f; for (int i = 0; i < 4; i++) { float n = noise1(x * f, s + i); r += a * (1.f - fabsf(2.f * n - 1.f)); f *= 2.1f; a *= .45f; } return r; }

HD V3 background(const Env& e, float x, float y) {
  const float hor = e.hor, px = e.px, t = e.t; const int sd = e.seed; V3 L = light(e.tod, e.wx); V3 c;
  const float farx = x - e.camx * .65f, midx = x - e.camx * .35f; // parallax
  const V3 haze = skycol(e.tod, e.wx, 1.f);
  switch (e.bg) {
  case 0: case 7: case 10: { // meadow, road, farm
    c = sky(e, x, y, hor);
    float y1 = hor - .05f + .055f * hills(farx, sd + 1, 2.6f); float k1 = under(y, y1, px); c = mix3(c, mix3(v3(.33f, .60f, .50f) * L, haze, .35f), k1);
    float y2 = hor + .0f + .04f * hills(midx, sd + 2, 3.4f); 
    c = tree_blobs(c, midx, y, y2 + .012f, .26f, sd + 4, v3(.20f, .56f, .24f) * L, v3(.40f, .26f, .16f) * L, px, .6f);
    float k2 = under(y, y2, px);
    float g2 = sat((y - y2) * 3.f); V3 gr = mix3(v3(.42f, .75f, .26f), v3(.26f, .60f, .20f), g2);
    float d = 1.f / (sat(y - y2) + .10f); float gx = x * d * 1.6f, gy = d * 5.f;
    gr = gr * (.90f + .16f * noise2(gx * 3.f, gy * 3.f, sd) + .10f * noise2(x * 3.f, y * 9.f, sd + 9));
    if (e.bg == 10) { float rw = sinf(atan2f(x - (h1(sd, 31) - .5f), y - hor + .12f) * 34.f); V3 soil = v3(.58f, .40f, .22f), crop = h1(sd, 32) < .5f ? v3(.45f, .68f, .18f) : v3(.88f, .74f, .25f); gr = mix3(soil, crop, sstep(-.35f, .25f, rw)) * (.9f + .2f * noise2(gx * 4.f, gy * 4.f, sd)); }
    c = mix3(c, gr * L, k2);
    if (e.bg == 0) { // flowers in perspective
      int ix = (int)floorf(gx * 1.1f), iy = (int)floorf(gy * 1.1f); float hh = h2(ix, iy, sd + 21);
      if (k2 > .9f && hh < .30f) { float fx = fractf(gx * 1.1f) - .3f - .4f * h2(ix, iy, sd + 22), fy = fractf(gy * 1.1f) - .3f - .4f * h2(ix, iy, sd + 23); float q = h2(ix, iy, sd + 24);
        V3 fc = q < .3f ? v3(1.f, .85f, .2f) : q < .55f ? v3(.97f, .35f, .45f) : q < .8f ? v3(1, 1, 1) : v3(.65f, .4f, .95f); c = mix3(c, fc * L, sat((.17f - sqrtf(fx * fx + fy * fy)) * 9.f)); }
    }
    if (e.bg == 10) { // red barn + fence
      float bx = midx - (h1(sd, 41) - .5f) * e.asp * .8f, by = y - (hor + .015f); float wv = .13f;
      float body = box(bx, by + .06f, wv, .085f, px); c = mix3(c, v3(.76f, .16f, .13f) * L * (.93f + .07f * (fractf(bx * 40.f) > .15f)), body);
      float rf = (by + .145f); float roof = (rf > -.085f && rf < .008f) ? sat((wv + .02f - fabsf(bx) * 1.f - (-rf) * 1.35f) / px + .5f) : 0.f; c = mix3(c, v3(.36f, .30f, .33f) * L, roof);
      float door = box(bx, by + .03f, .042f, .055f, px); c = mix3(c, v3(.95f, .92f, .88f) * L, door); float din = box(bx, by + .03f, .034f, .047f, px); c = mix3(c, v3(.50f, .11f, .10f) * L, din); float dx1 = fabsf(fabsf(bx) * 1.38f - fabsf(by + .03f)); if (din > .5f && dx1 < .006f) c = v3(.95f, .92f, .88f) * L;
      float fy = y - (hor + .115f); float post = box(fractf(x * 4.f) * .25f - .125f, fy, .010f, .055f, px), r1 = box(0, fy + .022f, 1, .008f, px), r2 = box(0, fy - .018f, 1, .008f, px); float f = post > r1 ? post : r1; f = f > r2 ? f : r2; c = mix3(c, v3(.93f, .90f, .84f) * L, f * .95f);
    }
    if (e.bg == 7) { // asphalt band
      float r0 = hor + .17f, r1 = 1.02f; float k = under(y, r0, px) * (1.f - under(y, r1, px)); V3 as = v3(.30f, .31f, .34f) * (.94f + .10f * noise2(x * 60.f, y * 90.f, sd)); as = mix3(as, as * .85f, sat((y - r0) * 1.5f));
      c = mix3(c, as * L, k); float e1 = box(0, y - (r0 + .02f), 1, .007f, px), e2 = box(0, y - (r1 - .035f), 1, .009f, px); float mid = box(0, y - (r0 + r1) * .5f, 1, .009f, px) * (fractf(x * 2.2f) < .55f ? 1.f : 0.f); float m = e1 > e2 ? e1 : e2; m = m > mid ? m : mid; c = mix3(c, v3(.97f, .93f, .80f) * L, m * .95f);
      float kb = box(0, y - r0 + .008f, 1, .010f, px); c = mix3(c, v3(.66f, .64f, .60f) * L, kb);
    }
    break; }
  case 1: case 2: { // beach, ocean
    c = sky(e, x, y, hor);
    V3 deep = e.tod == 3 ? v3(.03f, .10f, .24f) : mix3(v3(.04f, .34f, .66f), skycol(e.tod, e.wx, .7f) * .8f, e.tod == 1 ? .12f : .42f); V3 shal = e.tod == 3 ? v3(.07f, .22f, .38f) : mix3(v3(.18f, .72f, .80f), skycol(e.tod, e.wx, .8f), e.tod == 1 ? .05f : .35f);
    float z = sat(y - hor); float d = 1.f / (z + .055f); float u = x * d, v = d;
    float w = fbm(u * 1.3f + t * .22f, v * 3.2f + t * .55f, sd + 3, 3) + .18f * sinf(v * 5.5f + t * 2.0f + 2.f * noise2(u * .7f, v, sd));
    V3 sea = mix3(deep, shal, sat(z * (e.bg == 1 ? 3.2f : 1.25f) + .25f * (w - .45f)));
    sea = sea + haze * (.22f * sstep(.62f, .85f, w)); 
    float sx = (h1(sd, 5) - .5f) * e.asp * .7f; float gl = expf(-fabsf(x - e.camx * .9f - sx) * (7.f - 3.f * z)) * sstep(.45f, .8f, noise2(u * 4.f, v * 9.f + t * 2.3f, sd + 8)); if (e.wx < 2) sea = sea + (e.tod == 3 ? v3(.5f, .55f, .65f) : e.tod == 1 ? v3(.5f, .5f, .42f) : v3(.75f, .45f, .22f)) * gl;
    c = mix3(c, sea, under(y, hor, px));
    if (e.bg == 1) {
      float ys = hor + .20f + .018f * sinf(t * 1.5f) + .02f * sinf(x * 4.f + sd) + .008f * sinf(x * 13.f + t); float ks = under(y, ys, px);
      V3 sand = v3(.95f, .83f, .58f) * (.93f + .10f * noise2(x * 45.f, y * 60.f, sd) + .05f * noise2(x * 6.f, y * 14.f, sd + 1)); float wet = sat(1.f - (y - ys) * 14.f); sand = mix3(sand, sand * v3(.72f, .70f, .72f), wet);
      c = mix3(c, sand * L, ks); float foam = sat(1.f - fabsf(y - ys + .006f) / (.010f + .012f * noise2(x * 14.f + t, t * .7f, sd + 5))); float foam2 = .6f * sat(1.f - fabsf(y - ys + .055f + .02f * sinf(x * 5.f + t * 1.2f)) / .008f); c = mix3(c, v3(1, 1, 1) * mixf(1.f, lum(L), .7f), foam > foam2 ? foam : foam2);
      // shells
      int ix = (int)floorf(x * 5.f), iy = (int)floorf(y * 9.f); if (ks > .9f && y - ys > .1f && h2(ix, iy, sd + 6) < .16f) { float fx = fractf(x * 5.f) - .5f, fy = (fractf(y * 9.f) - .5f) * .55f; c = mix3(c, (h2(ix, iy, sd + 7) < .5f ? v3(1.f, .72f, .66f) : v3(1.f, .96f, .88f)) * L, sat((.055f - sqrtf(fx * fx + fy * fy)) * 60.f)); }
    }
    break; }
  case 3: { // desert
    c = sky(e, x, y, hor); if (e.tod == 1) c = mix3(c, v3(1.f, .90f, .70f), .22f * sat(y / hor));
    for (int i = 0; i < 2; i++) { float pxx = farx - (h1(sd, 50 + i) - .5f) * e.asp, s = .12f + .10f * h1(sd, 52 + i); if (h1(sd, 54 + i) < .5f) { float yy = (y - (hor + .03f - s)) / s; if (yy > 0 && y < hor + .06f) { float a = sat((yy * s * 1.15f - fabsf(pxx)) / px); V3 pc = pxx < .15f * yy * s ? v3(.93f, .74f, .45f) : v3(.72f, .53f, .33f); c = mix3(c, mix3(pc * L, haze, .2f), a); } } }
    for (int i = 0; i < 4; i++) { float f = i / 3.f; float xx = x - e.camx * (.6f - .6f * f); float yb = hor + .02f + f * .26f; float cr = hills(xx + i * 1.7f, sd + i * 5, 1.5f + .4f * i); float yd = yb + (.03f + .03f * f) * cr; float k = under(y, yd, px);
      float sl = hills(xx + .05f + i * 1.7f, sd + i * 5, 1.5f + .4f * i) - cr; V3 s0 = mix3(v3(.90f, .68f, .40f), v3(.98f, .80f, .48f), sat(.5f + sl * 3.f)); float rip = .5f + .5f * sinf((y - yd) * (190.f - 90.f * f) + 3.f * noise2(xx * 5.f, y * 6.f, sd)); s0 = s0 * (1.02f - .18f * sat((y - yd) * 3.f)) * (.96f + .05f * rip);
      c = mix3(c, mix3(s0 * L, haze, .28f * (1.f - f)), k); }
    break; }
  case 4: { // snowy mountains
    c = sky(e, x, y, hor);
    for (int i = 0; i < 2; i++) { float xx = (i ? midx : farx); float r = ridge(xx + 3.f * i, sd + 60 + i * 9, i ? 1.7f : 1.2f); float top = hor + .06f - (i ? .30f : .46f) * r; float k = under(y, top, px); float dep = y - top; float n = fbm(xx * 9.f, y * 9.f, sd + 70, 3);
      float face = sat(.5f + 2.6f * (ridge(xx + 3.f * i + .025f, sd + 60 + i * 9, i ? 1.7f : 1.2f) - r) + .5f * (n - .45f)); float snow = sstep(.02f, -.02f, dep - (.08f + .10f * n) ); V3 rock = mix3(v3(.30f, .34f, .44f), v3(.52f, .54f, .60f), face), sn = mix3(v3(.70f, .80f, .95f), v3(1, 1, 1), face);
      c = mix3(c, mix3(mix3(rock, sn, snow) * L, haze, i ? .10f : .30f), k); }
    float yb = hor + .05f + .02f * hills(midx, sd + 3, 3.f); float p = pine(midx * 11.f, (yb + .01f - y) * 11.f, sd + 5, 1.25f); c = mix3(c, mix3(v3(.10f, .30f, .26f), v3(.85f, .92f, 1.f), .25f + .4f * noise2(midx * 60.f, y * 50.f, sd)) * L, p);
    float k = under(y, yb, px); V3 g = mix3(v3(.97f, .98f, 1.f), v3(.76f, .85f, .97f), sat((y - yb) * 1.7f + .5f * (fbm(x * 2.f, y * 6.f, sd + 2, 3) - .5f))); float spk = h2((int)floorf(x * 90.f), (int)floorf(y * 90.f), sd); if (spk > .985f) g = g * 1.06f; c = mix3(c, g * L, k);
    break; }
  case 5: { // forest
    c = sky(e, x, y, hor); c = mix3(c, mix3(v3(.62f, .80f, .60f) * L, haze, .5f), .55f);
    for (int i = 0; i < 3; i++) { float f = i * .5f; float xx = x - e.camx * (.6f - .25f * i); float sc = 9.f - 3.f * i; float yb = hor + .02f + .05f * i; float p = pine(xx * sc + 13.f * i, (yb - y) * sc, sd + 9 * i, (2.9f + .5f * i) * (1.f + .25f * i) * .9f); V3 col = mix3(v3(.28f, .52f, .40f), v3(.08f, .30f, .18f), f) * (.85f + .3f * noise2(xx * 22.f, y * 26.f, sd + i)); c = mix3(c, mix3(col * L, haze, .38f * (1.f - f)), p); }
    if (e.tod != 3 && e.wx < 2) { float ry = sat(sinf((x + y * .55f) * 7.f + h1(sd, 3) * 6.f + .25f * sinf(t * .5f)) * .5f + .1f) * sat(1.2f - y / (hor + .25f)); c = c + v3(.20f, .20f, .10f) * L * ry; }
    float yg = hor + .10f + .015f * hills(x, sd + 7, 4.f); float k = under(y, yg, px); float d = 1.f / (sat(y - yg) + .12f); V3 g = mix3(v3(.33f, .50f, .18f), v3(.20f, .34f, .12f), sat((y - yg) * 2.4f)) * (.80f + .38f * fbm(x * d * 3.f, d * 9.f, sd + 1, 3)); float path = sat(1.f - fabsf(x - .1f * sinf(d * .8f)) * d * .42f); g = mix3(g, v3(.55f, .42f, .27f) * (.9f + .2f * noise2(x * 20.f, y * 40.f, sd)), sstep(.15f, .5f, path) * .8f); c = mix3(c, g * L, k);
    int ix = (int)floorf(x * 6.f), iy = (int)floorf(y * 10.f); if (k > .9f && h2(ix, iy, sd + 6) < .12f && y - yg > .05f) { float fx = fractf(x * 6.f) - .5f, fy = (fractf(y * 10.f) - .5f) * .6f; V3 mc = h2(ix, iy, sd + 8) < .5f ? v3(.85f, .18f, .14f) : v3(.95f, .80f, .3f); c = mix3(c, v3(.95f, .9f, .8f) * L, box(fx, fy - .06f, .022f, .05f, .02f)); c = mix3(c, mc * L, sat((.09f - sqrtf(fx * fx + fy * fy * 2.f)) * 40.f) * (fy < .02f ? 1.f : 0.f)); }
    break; }
  case 6: { // city
    c = sky(e, x, y, hor); float lit = e.tod == 3 ? .62f : e.tod == 2 ? .40f : e.tod == 0 ? .16f : .05f;
    for (int i = 0; i < 3; i++) { float f = i * .5f; float xx = x - e.camx * (.6f - .22f * i) + 7.f * i; float w = .15f + .03f * i; float g = xx / w; int ib = (int)floorf(g); float fx = (g - ib - .5f) * w; float hb = (i == 0 ? .42f : i == 1 ? .34f : .24f) * (.45f + .75f * h1(ib, sd + i * 11)); float top = hor + .12f - hb; float bw = w * (.40f + .09f * h1(ib, sd + 2 + i)); float k = box(fx, y - (top + .5f), bw, .5f, px); if (k <= 0) { continue; }
      float q = h1(ib, sd + 5 + i * 3); V3 bc = q < .2f ? v3(.85f, .52f, .40f) : q < .4f ? v3(.52f, .66f, .82f) : q < .6f ? v3(.90f, .78f, .56f) : q < .8f ? v3(.62f, .60f, .74f) : v3(.56f, .76f, .70f); bc = bc * (fx > bw * .45f ? .82f : 1.f); V3 b = mix3(bc * L * (e.tod == 3 ? .55f : 1.f), haze, .42f * (1.f - f));
      float cs = .030f + .004f * i; float wx = fractf((fx + bw) / cs), wy = fractf((y - top - .012f) / (cs * 1.25f)); int jx = (int)floorf((fx + bw) / cs), jy = (int)floorf((y - top - .012f) / (cs * 1.25f)); if (y > top + .012f && fabsf(fx) < bw - .012f && wx > .25f && wx < .78f && wy > .22f && wy < .75f) { float hl = h2(jx + ib * 131, jy, sd + i); float on = hl < lit ? 1.f : 0.f; if (hl < lit * .12f) on = fractf(t * .35f + hl * 900.f) < .5f ? 1.f : 0.f; V3 wc = on > 0 ? v3(1.f, .86f, .48f) : mix3(v3(.40f, .56f, .74f) * L, b, .35f); b = mix3(b, wc, .92f); }
      c = mix3(c, b, k); }
    { float y0 = hor + .115f; float k = under(y, y0, px); c = mix3(c, v3(.68f, .67f, .68f) * L * (.95f + .05f * (fractf(x * 6.f) > .04f)), k); float r0 = hor + .21f; float kr = under(y, r0, px); V3 as = v3(.27f, .28f, .33f) * (.95f + .08f * noise2(x * 60.f, y * 90.f, sd)); float mid = box(0, y - (r0 + .16f), 1, .008f, px) * (fractf(x * 2.f) < .5f ? 1.f : 0.f); as = mix3(as, v3(.95f, .85f, .45f), mid); c = mix3(c, as * mix3(L, v3(1, 1, 1), .15f), kr); c = mix3(c, v3(.84f, .83f, .82f) * L, box(0, y - r0, 1, .008f, px)); 
      if (e.tod == 3) c = c + v3(.30f, .22f, .10f) * k * sat(noise2(x * 3.f, y * 2.f, sd + 4) - .45f); }
    break; }
  case 8: { // space
    float nx = x - e.camx * .5f; float n = fbm(nx * 1.6f + t * .01f, y * 1.6f, sd + 1, 5), n2 = fbm(nx * 2.1f + 7.f, y * 2.1f - t * .012f, sd + 2, 4); V3 a = h1(sd, 1) < .5f ? v3(.30f, .12f, .48f) : v3(.08f, .24f, .50f), b = h1(sd, 2) < .5f ? v3(.62f, .18f, .42f) : v3(.10f, .45f, .55f);
    c = v3(.015f, .018f, .06f) + a * sstep(.35f, .85f, n) + b * (sstep(.5f, .9f, n2) * .8f); float st = starfield(nx, y, t, sd + 4, .30f); c = c + v3(1.f, .97f, .93f) * st;
    for (int i = 0; i < 2; i++) { if (i == 1 && h1(sd, 70) < .4f) continue; float R = i ? .05f + .05f * h1(sd, 71) : .12f + .12f * h1(sd, 72); float pxx = x - e.camx * (.4f) - (i ? -1.f : 1.f) * (h1(sd, 73) < .5f ? -1.f : 1.f) * e.asp * (.20f + .2f * h1(sd, 74 + i)), py = y - (i ? .68f - .5f * h1(sd, 77) : .12f + .30f * h1(sd, 76)); float d2 = sqrtf(pxx * pxx + py * py); float k = disc(pxx, py, R, px); float q = h1(sd, 80 + i);
      V3 pc = q < .25f ? v3(.92f, .55f, .30f) : q < .5f ? v3(.35f, .62f, .92f) : q < .75f ? v3(.86f, .40f, .45f) : v3(.50f, .80f, .55f); if (k > 0) { float zx = pxx / R, zy = py / R; float zz = sqrtf(sat(1.f - zx * zx - zy * zy)); float bands = fbm(zx * 1.1f / (.4f + zz) + t * .08f, zy * 6.f, sd + 33 + i, 3); float li = sat(.15f + .95f * (-.5f * zx - .45f * zy + .72f * zz)); c = mix3(c, pc * (.65f + .7f * bands) * (.12f + li), k); }
      c = c + pc * (.25f * expf(-(d2 - R) * 26.f)) * (d2 > R ? 1.f : 0.f); if (i == 0 && h1(sd, 82) < .5f) { float ex = pxx, ey = (py + pxx * .25f) * 3.6f; float er = sqrtf(ex * ex + ey * ey); if (er > R * 1.3f && er < R * 2.0f && (py + pxx * .25f > 0 || k < .5f)) c = mix3(c, v3(.92f, .82f, .66f), .75f * (.6f + .4f * sinf(er / R * 30.f))); } }
    break; }
  case 9: { // underwater
    float k = sat(y); V3 top = e.tod == 3 ? v3(.05f, .22f, .45f) : e.tod == 2 ? v3(.45f, .55f, .68f) : v3(.30f, .80f, .92f), bot = e.tod == 3 ? v3(.01f, .05f, .18f) : v3(.02f, .22f, .52f); c = mix3(top, bot, sqrtf(k));
    float ry = 0; for (int i = 0; i < 2; i++) ry += .5f + .5f * sinf((x - e.camx * .4f + y * (.35f + .1f * i)) * (9.f + 5.f * i) + t * (.5f - .9f * i) + h1(sd, i) * 6.f); c = c + v3(.20f, .26f, .24f) * (sat(ry - .75f) * sat(1.05f - k) * (e.tod == 3 ? .35f : 1.f));
    float y1 = hor + .10f + .05f * hills(midx, sd + 3, 3.f); c = mix3(c, mix3(v3(.10f, .34f, .50f), top, .12f), under(y, y1, px * 3.f) * .7f);
    float ys = hor + .22f + .025f * hills(x, sd + 1, 2.6f); 
    for (int k2 = -1; k2 <= 1; k2++) { float g = x * 5.5f; int i = (int)floorf(g) + k2; if (h1(i, sd + 9) > .6f) continue; float bx = (i + .5f + .4f * (h1(i, sd + 10) - .5f)) / 5.5f, hh = .16f + .22f * h1(i, sd + 11); float yy = (ys + .03f - y) / hh; if (yy < 0 || yy > 1) continue; float sw = .05f * yy * sinf(t * 1.7f + yy * 3.5f + i); float w = .016f * (1.f - yy * .7f) * (1.f + .5f * sinf(yy * 34.f)); V3 wc = h1(i, sd + 12) < .55f ? v3(.12f, .55f, .30f) : h1(i, sd + 13) < .5f ? v3(.80f, .28f, .42f) : v3(.90f, .55f, .25f); c = mix3(c, wc * (.75f + .4f * yy) * (e.tod == 3 ? .45f : 1.f), sat((w - fabsf(x - bx - sw)) / px + .5f)); }
    float ks = under(y, ys, px); float ca = fbm(x * 7.f + t * .35f, y * 13.f - t * .3f, sd + 5, 2); V3 sand = mix3(v3(.78f, .76f, .55f), v3(.25f, .50f, .62f), .35f + .6f * sat(y - ys)) * (.88f + .35f * sstep(.38f, .55f, ca)); c = mix3(c, sand * (e.tod == 3 ? .38f : 1.f), ks);
    for (int i = 0; i < 2; i++) { float sc = i ? 7.f : 4.f; float gx = x * sc, gy = y * sc + t * (i ? 1.2f : .9f); int ix = (int)floorf(gx), iy = (int)floorf(gy); if (h2(ix, iy, sd + 14 + i) < .16f) { float fx = fractf(gx) - .5f - .12f * sinf(t * 2.f + iy), fy = fractf(gy) - .5f; float r = .10f + .10f * h2(ix, iy, sd + 16); float dd = sqrtf(fx * fx + fy * fy); float ring = sat(1.f - fabsf(dd - r) * 22.f) + .8f * sat(1.f - sqrtf((fx + r * .4f) * (fx + r * .4f) + (fy + r * .4f) * (fy + r * .4f)) * 26.f); c = c + v3(.55f, .65f, .68f) * sat(ring) * .7f; } }
    break; }
  case 11: { // room
    float q = h1(sd, 1); V3 wall = q < .2f ? v3(.95f, .86f, .70f) : q < .4f ? v3(.66f, .82f, .90f) : q < .6f ? v3(.93f, .72f, .72f) : q < .8f ? v3(.74f, .88f, .74f) : v3(.82f, .76f, .92f); float stp = fractf(x * 7.f) < .5f ? 1.f : .955f; if (h1(sd, 2) < .5f) stp = 1.f; c = wall * stp * (1.02f - .12f * sat(1.f - y * 2.f));
    float night = e.tod == 3 ? 1.f : 0.f; V3 RL = e.tod == 3 ? v3(.74f, .60f, .46f) : e.tod == 2 ? v3(1.f, .86f, .74f) : v3(1, 1, 1); 
    float wx = x - (h1(sd, 3) - .5f) * e.asp * .55f, wy = y - (hor * .42f); float fr = box(wx, wy, .17f, .16f, px), in = box(wx, wy, .15f, .14f, px); c = mix3(c, v3(.98f, .96f, .92f), fr); if (in > 0) { Env e2 = e; e2.camx = 0; V3 s = sky(e2, wx * 1.6f, (wy + .14f) * 1.5f, .5f); float yh = .06f + .02f * hills(wx * 3.f, sd, 3.f); s = mix3(s, v3(.30f, .60f, .28f) * L, under(wy, yh, px)); c = mix3(c, s * (1.f / mixf(1.f, .8f, night)), in); float mb = box(wx, wy, .006f, .14f, px), mh = box(wx, wy, .15f, .006f, px); c = mix3(c, v3(.98f, .96f, .92f), mb > mh ? mb : mh); }
    float pxx = x - (wx > 0 ? 1.f : -1.f) * 0.f - ((h1(sd, 3) < .5f) ? .33f : -.33f) * e.asp, py = y - hor * .40f; float pf = box(pxx, py, .085f, .10f, px), pi = box(pxx, py, .072f, .087f, px); c = mix3(c, v3(.55f, .36f, .20f), pf); c = mix3(c, mix3(v3(.95f, .75f, .35f), v3(.35f, .55f, .75f), sstep(-.03f, .03f, py + .03f * sinf(pxx * 40.f + sd))), pi);
    float kf = under(y, hor, px); c = mix3(c, v3(.97f, .95f, .92f), box(0, y - hor + .016f, 9.f, .018f, px)); float d = 1.f / (sat(y - hor) + .22f); float gx = x * d * 1.5f, pl = floorf(gx * 2.2f); float len = d * 3.2f + h1((int)pl, sd + 4) * 3.f; V3 fl = mix3(v3(.72f, .48f, .28f), v3(.58f, .36f, .20f), h2((int)pl, (int)floorf(len), sd + 5)); fl = fl * (.92f + .14f * noise2(gx * 30.f, d * 8.f, sd)); float gap = fractf(gx * 2.2f); fl = fl * (gap < .04f ? .72f : 1.f) * (fractf(len) < .02f ? .8f : 1.f);
    float rg = sqrtf(x * x * .45f + (y - hor - .26f) * (y - hor - .26f) * 5.f); if (h1(sd, 8) < .6f) { V3 rc = h1(sd, 9) < .5f ? v3(.78f, .26f, .28f) : v3(.26f, .42f, .68f); fl = mix3(fl, mix3(rc, v3(.95f, .90f, .80f), fractf(rg * 13.f) < .25f ? 1.f : 0.f), sat((.36f - rg) / (px * 2.f))); } c = mix3(c, fl, kf); c = c * RL; if (night > 0) { float lx = x + (h1(sd, 3) < .5f ? -.3f : .3f) * e.asp, ly = y - hor * .3f; c = c * (.62f + .75f * expf(-(lx * lx + ly * ly) * 3.f)); }
    break; }
  case 12: { // stage
    float q = h1(sd, 1); V3 cur = q < .6f ? v3(.66f, .07f, .10f) : q < .8f ? v3(.22f, .16f, .52f) : v3(.08f, .36f, .30f); float fold = .55f + .45f * sinf(x * 42.f + 1.5f * sinf(y * 5.f + x * 3.f) + .3f * sinf(t * .7f)); V3 back = cur * (.20f + .22f * fold); float side = fabsf(x) - e.asp * .36f + .05f * sinf(y * 3.f); V3 sc = cur * (.40f + .75f * fold); c = mix3(back, sc, sstep(-.01f, .02f, side)); float val = .11f + .025f * fabsf(sinf(x * 8.f)); c = mix3(c, cur * (.5f + .6f * (.5f + .5f * sinf(x * 50.f))), under(val, y, px)); c = mix3(c, v3(.95f, .76f, .30f), box(0, y - val, 9.f, .008f, px));
    float kf = under(y, hor, px); float d = 1.f / (sat(y - hor) + .25f); float gx = x * d * 2.f; V3 fl = mix3(v3(.60f, .38f, .20f), v3(.46f, .28f, .15f), h1((int)floorf(gx * 3.f), sd + 2)) * (fractf(gx * 3.f) < .05f ? .7f : 1.f); c = mix3(c, fl * .75f, kf);
    float cx = .22f * sinf(t * .8f + h1(sd, 4) * 6.f); float cone = sat(1.f - fabsf(x - cx * sat(y)) / (.06f + .30f * y)); c = c * .62f + c * sstep(0.f, .6f, cone) * .55f + v3(.16f, .15f, .10f) * sstep(0.f, .7f, cone) * sat(1.1f - y); float ex = (x - cx) / .42f, ey = (y - (hor + .16f)) / .12f; c = c + v3(.42f, .36f, .22f) * sstep(1.f, .6f, sqrtf(ex * ex + ey * ey)) * kf;
    for (int i = 0; i < 5; i++) { float lx = (i - 2) * .22f * e.asp * .56f; c = c + v3(1.f, .9f, .6f) * disc(x - e.camx - lx, y - .03f, .018f, px) ; }
    break; }
  case 14: { // moon surface
    c = v3(.012f, .014f, .035f) + v3(1.f, .97f, .93f) * starfield(x - e.camx * .8f, y, t, sd + 4, .28f); float ex = x - e.camx * .8f - (h1(sd, 1) - .5f) * e.asp * .6f, ey = y - .2f, R = .11f; float k = disc(ex, ey, R, px); if (k > 0) { float n = fbm(ex * 14.f + t * .1f, ey * 14.f, sd, 3); float zz = sqrtf(sat(1.f - (ex * ex + ey * ey) / (R * R))); V3 ec = n > .52f ? v3(.30f, .62f, .28f) : v3(.14f, .38f, .85f); if (fbm(ex * 20.f - t * .15f, ey * 26.f, sd + 3, 2) > .46f) ec = v3(.95f, .97f, 1.f); c = mix3(c, ec * (.25f + .85f * sat(-.5f * ex / R - .4f * ey / R + .7f * zz)), k); }
    float yb = hor + .02f * hills(midx, sd + 2, 4.f) - .05f * sat(hills(farx, sd + 5, 2.f)); float g = under(y, yb, px); float d = 1.f / (sat(y - yb) + .14f); float gx = x * d * .9f, gy = d * 2.6f; V3 m = v3(.66f, .66f, .70f) * (.74f + .40f * fbm(gx * 4.f, gy * 4.f, sd + 1, 3)) * (1.02f - .25f * sat((y - yb) * 1.3f)); int ix = (int)floorf(gx), iy = (int)floorf(gy); if (h2(ix, iy, sd + 6) < .7f) { float fx = fractf(gx) - .5f, fy = fractf(gy) - .5f; float r = .14f + .22f * h2(ix, iy, sd + 7); float dd = sqrtf(fx * fx + fy * fy); if (dd < r) m = m * (fy * 1.3f < -fx * .6f ? .78f : .95f) * .92f; else m = m * (1.f + .22f * sat(1.f - (dd - r) * 14.f)); } c = mix3(c, m, g);
    break; }
  case 15: { // above the clouds
    c = sky(e, x, y, hor + .35f); for (int i = 0; i < 3; i++) { float f = i * .5f; float xx = x - e.camx * (.5f - .25f * i) + t * (.02f + .05f * i); float top = hor + .03f + .20f * i - (.16f + .05f * i) * fbm(xx * (2.4f - .4f * i), 3.f * i + .12f * t, sd + 9 * i, 4); float k = sat((y - top) / (.02f + px)); V3 cw = e.tod == 0 ? v3(1.f, .86f, .84f) : e.tod == 1 ? v3(1, 1, 1) : e.tod == 2 ? v3(1.f, .66f, .50f) : v3(.26f, .30f, .50f); V3 cs2 = cw * (e.tod == 3 ? v3(.6f, .6f, .8f) : v3(.74f, .80f, .94f)); float sh = sat((y - top) * 3.2f); c = mix3(c, mix3(mix3(cw, cs2, sh), haze, .25f * (1.f - f)), k); }
    break; }
  default: { // 13 studio backdrop
    float v = sqrtf(x * x * .35f + (y - .45f) * (y - .45f)); V3 b = e.col; c = mix3(b * 1.10f + v3(.03f, .03f, .03f), b * .70f, sat(v * 1.15f)); float kf = sstep(hor - .05f, hor + .10f, y); c = mix3(c, b * 1.02f + v3(.02f, .02f, .02f), kf * .6f); break; }
  }
  return c;
}

HD void spr_fetch(const uchar4* sp, float u, float v, float* o) { // bilinear premultiplied sample, u,v in [0,1]
  float fx = u * SPR - .5f, fy = v * SPR - .5f; float bx = floorf(fx), by = floorf(fy); int ix = (int)bx, iy = (int)by; float a = fx - bx, b = fy - by;
  for (int j = 0; j < 2; j++) for (int i = 0; i < 2; i++) { int X = ix + i, Y = iy + j; if (X < 0 || Y < 0 || X >= SPR || Y >= SPR) continue; float w = (i ? a : 1.f - a) * (j ? b : 1.f - b); uchar4 q = sp[Y * SPR + X]; o[0] += w * q.x; o[1] += w * q.y; o[2] += w * q.z; o[3] += w * q.w; }
}

// one pixel; returns rgb in [0,1], and in `actor` how much of it actors cover
HD V3 shade(const float* G, const float* C, const float* A, const uchar4* sprites, float t, float W, float H, float ipx, float ipy, float* actor) {
  float cover = 0.f;
  Env e; e.bg = (int)G[G_BG]; e.tod = (int)G[G_TOD]; e.wx = (int)G[G_WX]; e.seed = (int)G[G_SEED]; e.hor = G[G_HOR]; e.t = t; e.wind = G[G_WIND]; e.asp = W / H; e.col = v3(G[G_R], G[G_GG], G[G_B]);
  int style = (int)G[G_STYLE];
  if (style == 5) { ipx = floorf(ipx / 6.f) * 6.f + 3.f; ipy = floorf(ipy / 6.f) * 6.f + 3.f; }
  float sx = (ipx - W * .5f) / H, sy = ipy / H; float zoom = C[2]; e.px = 1.25f / (H * zoom); e.camx = C[0];
  float x = sx / zoom + C[0], y = (sy - .5f) / zoom + .5f + C[1];
  V3 c = background(e, x, y); V3 L = light(e.tod, e.wx); bool lit = !(e.bg == 8 || e.bg == 11 || e.bg == 12 || e.bg == 13 || e.bg == 14); V3 AL = lit ? mix3(v3(1, 1, 1), L, e.tod == 3 ? .62f : .55f) : v3(1, 1, 1);
  if (e.bg == 9) AL = v3(.86f, .96f, 1.f) * (e.tod == 3 ? .72f : 1.f); if (e.bg == 11 && e.tod == 3) AL = v3(.86f, .76f, .66f);
  int n = (int)G[G_NACT];
  for (int i = 0; i < n; i++) { const float* a = A + i * NAF; if (a[6] > 0 && a[8] > 0) { float h = sat(1.f - (a[7] - (a[1] + a[2] * .5f)) * 1.6f); float ex = (x - a[0]) / (a[2] * (.30f + .16f * h)), ey = (y - a[7]) / (a[2] * .07f); float d2 = ex * ex + ey * ey; if (d2 < 2.2f) c = c * (1.f - a[8] * (.15f + .85f * h) * .55f * sstep(2.2f, 0.2f, d2)); } }
  for (int i = 0; i < n; i++) { const float* a = A + i * NAF; if (a[6] <= 0) continue; float dx = x - a[0], dy = y - a[1]; float sz = a[2]; float lim = sz * .72f; if (fabsf(dx) > lim || fabsf(dy) > lim) continue; float cs = cosf(a[3]), sn = sinf(a[3]); float o[4] = {0, 0, 0, 0}; float pxu = 1.f / (H * zoom); int ss = pxu * SPR > sz * 1.1f ? 2 : 1; const uchar4* sp = sprites + (long)(a[5] + .5f) * (SPR * SPR);
    for (int j = 0; j < ss * ss; j++) { float jx = ss == 1 ? 0.f : ((j & 1) - .5f) * .5f * pxu, jy = ss == 1 ? 0.f : ((j >> 1) - .5f) * .5f * pxu; float rx = cs * (dx + jx) + sn * (dy + jy), ry = -sn * (dx + jx) + cs * (dy + jy); float u = rx * a[4] / sz + .5f, v = ry / sz + .5f; if (u < -.01f || v < -.01f || u > 1.01f || v > 1.01f) continue; spr_fetch(sp, u, v, o); }
    float kk = 1.f / (255.f * ss * ss); float al = o[3] * kk; float wc = 1.f; if (a[9] < 50.f) { float wl = a[9] + .008f * sinf(x * 26.f + t * 4.f); wc = y > wl ? .16f : 1.f; if (al > .1f && fabsf(y - wl) < .006f) c = mix3(c, v3(1, 1, 1), .5f * al); }
    al *= a[6] * wc; V3 col = v3(o[0], o[1], o[2]) * (kk * a[6] * wc); c = c * (1.f - al) + col * AL; cover = cover * (1.f - al) + al; }
  // weather in front (screen space)
  if (lit && e.bg != 9) {
    if (e.wx == 4) { float f = .38f + .25f * fbm(x * 1.3f + t * .07f, y * 2.f, e.seed + 77, 3); f *= .75f + .5f * sat(1.f - fabsf(y - e.hor - .05f) * 1.8f); c = mix3(c, skycol(e.tod, 4, 1.f) * 1.02f, sat(f)); }
    if (e.wx == 2) { for (int k = 0; k < 2; k++) { float sc = k ? 26.f : 44.f; float rx = (sx + sy * .12f) * sc, ry = sy * (k ? 3.2f : 4.6f) - t * (k ? 7.f : 8.f) ; int ix = (int)floorf(rx); ry += 13.f * h1(ix, e.seed + 5 + k); int iy = (int)floorf(ry); if (h2(ix, iy, e.seed + k) < .55f) { float fx = fractf(rx) - .5f, fy = fractf(ry); float s = sat(1.f - fabsf(fx) * (k ? 7.f : 6.f)) * sat(fy * 1.6f) * (fy < .75f ? 1.f : 0.f); c = mix3(c, v3(.86f, .92f, 1.f), s * (k ? .48f : .30f)); } } }
    if (e.wx == 3) { for (int k = 0; k < 2; k++) { float sc = 6.f + 5.f * k; float rx = sx * sc + .35f * sinf(t * 1.1f + k + sy * 4.f) + t * .25f, ry = sy * sc - t * (2.6f + .5f * k); int ix = (int)floorf(rx), iy = (int)floorf(ry); if (h2(ix, iy, e.seed + 9 * k) < .42f) { float fx = fractf(rx) - .3f - .4f * h2(ix, iy, e.seed + 3), fy = fractf(ry) - .3f - .4f * h2(ix, iy, e.seed + 4); float r = .10f + .06f * h2(ix, iy, e.seed + 6); c = mix3(c, v3(1, 1, 1), .92f * sat((r - sqrtf(fx * fx + fy * fy)) * 16.f)); } } }
  }
  if (style == 1) { float g = lum(c); g = sat((g - .5f) * 1.1f + .5f); c = v3(g, g, g); }
  else if (style == 2) { float g = lum(c); c = v3(g * 1.07f + .04f, g * .88f + .03f, g * .66f); }
  else if (style == 3) { c = v3(c.x * 1.10f + .02f, c.y * 1.0f, c.z * .80f); }
  else if (style == 4) { float g = lum(c); V3 nn = mix3(v3(.12f, .02f, .30f), v3(.05f, .95f, 1.f), g); nn = mix3(nn, v3(1.f, .15f, .75f), sat(c.x - .5f * (c.y + c.z)) * 1.4f); c = mix3(c * .7f, nn, .65f); }
  *actor = cover; c.x = sat(c.x); c.y = sat(c.y); c.z = sat(c.z); return c;
}
